"""AutoAugment of one image, with randomness that depends on a seed only."""

from collections.abc import Callable
from typing import Union

import tensorflow as tf

from conadv_tf.data.color_ops import OPERATIONS as COLOR_OPERATIONS
from conadv_tf.data.geometric_ops import cutout
from conadv_tf.data.geometric_ops import OPERATIONS as GEOMETRIC_OPERATIONS
from conadv_tf.data.policies import Operation
from conadv_tf.data.policies import POLICIES
from conadv_tf.data.policies import Policy
from conadv_tf.types import TensorLike

_POSITIONS = 2  # Operations of a sub-policy.
_DRAWS_PER_OPERATION = 4


def auto_augment(
    image: TensorLike, seed: TensorLike, policy: Union[str, Policy] = "imagenet"
) -> tf.Tensor:
    """Applies one sub-policy of an AutoAugment policy, drawn from the seed.

    Cubuk et al. 2019 (arXiv 1805.09501). The sub-policy, whether each of its
    two operations is applied, the sign of a shear, translation or rotation and
    the position of a cutout are pure functions of the seed: the same seed
    gives the same image, whatever the order or number of threads of a
    `tf.data` map. Give each image of each epoch its own seed. Only operations
    that are applied are computed.

    Meant for the input pipeline, on the CPU. Images should already have the
    size of the network's input, because translations are in pixels.

    Args:
      image: uint8 [height, width, channels], 1 or 3 channels.
      seed: integer tensor [2].
      policy: "imagenet" (v0 of the released code), "cifar", or a
        `policies.Policy`.

    Returns:
      uint8, same shape as image.

    Raises:
      ValueError: if the policy is unknown, or the image or the seed is not as
        above.

    Example: each image, by its own seed, is inverted or not.
      >>> policy = ca.data.policies.Policy(
      ...     "half", [[("Invert", 0.5, 0), ("Invert", 0.0, 0)]], ranges={}
      ... )
      >>> images = tf.data.Dataset.from_tensors(tf.zeros([1, 1, 1], tf.uint8))
      >>> seeds = tf.data.Dataset.range(16).batch(2)
      >>> dataset = tf.data.Dataset.zip((images.repeat(8), seeds)).map(
      ...     lambda image, seed: ca.data.auto_augment(image, seed, policy)
      ... )
      >>> [image.numpy().item() for image in dataset]
      [255, 0, 255, 255, 0, 255, 0, 255]
    """
    policy = _resolve(policy)
    image = tf.convert_to_tensor(image)
    seed = tf.convert_to_tensor(seed)
    _check(image, seed)
    draws = tf.random.stateless_uniform(
        [1 + _POSITIONS * _DRAWS_PER_OPERATION], seed, alg="philox"
    )
    chosen = tf.cast(draws[0] * len(policy.sub_policies), tf.int32)
    draws = tf.split(draws[1:], _POSITIONS)
    shape = image.shape
    for position in range(_POSITIONS):
        operations = [pair[position] for pair in policy.sub_policies]
        image = _apply(image, policy, operations, chosen, draws[position])
        image = tf.ensure_shape(image, shape)
    return image


def _apply(
    image: tf.Tensor,
    policy: Policy,
    operations: list[Operation],
    chosen: tf.Tensor,
    draws: tf.Tensor,
) -> tf.Tensor:
    """Applies operations[chosen], or nothing if its coin says so.

    The switch is over the operations that occur (8 of v0 at each position)
    rather than over 25 sub-policies of two: less to trace.

    Args:
      image: uint8 [height, width, channels].
      policy: `policies.Policy`.
      operations: Python list, one `policies.Operation` for each sub-policy.
      chosen: int32 scalar, index of the sub-policy.
      draws: float32 [4] in [0, 1): coin, sign, and row and column of a cutout.
    """
    names = sorted({operation.name for operation in operations})
    branches = [1 + names.index(operation.name) for operation in operations]
    arguments = [policy.argument(operation) for operation in operations]
    probabilities = [operation.probability for operation in operations]
    is_signed = [policy.is_signed(operation) for operation in operations]

    argument = tf.constant(arguments)[chosen]
    negate = tf.constant(is_signed)[chosen] & (draws[1] < 0.5)
    argument = tf.where(negate, -argument, argument)
    is_applied = draws[0] < tf.constant(probabilities)[chosen]
    center = tf.cast(
        draws[2:] * tf.cast(tf.shape(image)[:2], tf.float32), tf.int32
    )

    def branch(name: str) -> Callable[[], tf.Tensor]:
        if name == "Cutout":
            return lambda: cutout(image, argument, center, policy.fill)
        if name in GEOMETRIC_OPERATIONS:
            operation = GEOMETRIC_OPERATIONS[name]
            return lambda: operation(image, argument, policy.fill)
        return lambda: COLOR_OPERATIONS[name](image, argument)

    return tf.switch_case(
        tf.where(is_applied, tf.constant(branches)[chosen], 0),
        [lambda: tf.identity(image), *[branch(name) for name in names]],
    )


def _resolve(policy: Union[str, Policy]) -> Policy:
    if not isinstance(policy, Policy):
        if policy not in POLICIES:
            raise ValueError(
                f"Expected a policy among {sorted(POLICIES)} or a "
                f"policies.Policy; received {policy!r}."
            )
        policy = POLICIES[policy]
    known = {*COLOR_OPERATIONS, *GEOMETRIC_OPERATIONS, "Cutout"}
    for pair in policy.sub_policies:
        for operation in pair:
            if operation.name not in known:
                raise ValueError(
                    f"Expected operations among {sorted(known)}; received "
                    f"{operation.name!r} in policy {policy.name!r}."
                )
    return policy


def _check(image: tf.Tensor, seed: tf.Tensor) -> None:
    if (
        image.dtype != tf.uint8
        or image.shape.rank != 3
        or image.shape[-1] not in (1, 3)
    ):
        raise ValueError(
            "Expected one uint8 image [height, width, channels] with 1 or 3 "
            f"channels; received {image.dtype.name} {image.shape}. Augment "
            "before batching and before scaling to [0, 1]."
        )
    if not seed.dtype.is_integer or not seed.shape.is_compatible_with([2]):
        raise ValueError(
            f"Expected an integer seed of shape [2]; received "
            f"{seed.dtype.name} {seed.shape}."
        )
