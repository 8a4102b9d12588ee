"""AutoAugment of one image, as a pure function of a seed."""

from collections.abc import Callable
import itertools
from typing import Union

import tensorflow as tf

from conadv_tf.data.color_ops import OPERATIONS as COLOR_OPERATIONS
from conadv_tf.data.geometric_ops import cutout
from conadv_tf.data.geometric_ops import OPERATIONS as GEOMETRIC_OPERATIONS
from conadv_tf.data.policies import Operation
from conadv_tf.data.policies import POLICIES
from conadv_tf.data.policies import Policy
from conadv_tf.types import TensorLike

_OPERATIONS_PER_SUB_POLICY = 2
_DRAWS_PER_OPERATION = 4


def auto_augment(
    image: TensorLike, seed: TensorLike, policy: Union[str, Policy] = "imagenet"
) -> tf.Tensor:
    """Applies one sub-policy of an AutoAugment policy, drawn from the seed.

    Cubuk et al. 2019 (arXiv 1805.09501). The seed determines the sub-policy,
    whether each of its two operations is applied, the sign of a shear,
    translation or rotation, and the position of a cutout. The same seed gives
    the same image, whatever the order or number of threads of a `tf.data` map.
    Give each image of each epoch a different seed. Operations that are not
    applied are not computed.

    Use it in the input pipeline, on the CPU. Images should already have the
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

    Example: the seed decides whether an image is inverted.
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
        [1 + _OPERATIONS_PER_SUB_POLICY * _DRAWS_PER_OPERATION],
        seed,
        alg="philox",
    )
    chosen = tf.cast(draws[0] * len(policy.sub_policies), tf.int32)
    draws = tf.split(draws[1:], _OPERATIONS_PER_SUB_POLICY)
    shape = image.shape
    for index, operation_draws in enumerate(draws):
        operations = [pair[index] for pair in policy.sub_policies]
        image = _apply(image, policy, operations, chosen, operation_draws)
        image = tf.ensure_shape(image, shape)
    return image


def _apply(
    image: tf.Tensor,
    policy: Policy,
    operations: list[Operation],
    chosen: tf.Tensor,
    draws: tf.Tensor,
) -> tf.Tensor:
    """Applies operations[chosen] with its probability.

    It switches among the different operations (8 at each position of v0)
    instead of 25 sub-policies, which is less to trace.

    Args:
      image: uint8 [height, width, channels].
      policy: `policies.Policy`.
      operations: Python list, one `policies.Operation` for each sub-policy.
      chosen: int32 scalar, index of the sub-policy.
      draws: float32 [4] in [0, 1): they decide whether the operation is
        applied, its sign, and the row and column of a cutout.
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
    for operation in itertools.chain(*policy.sub_policies):
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
