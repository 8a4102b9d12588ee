"""A loss as a function of weights and images, which is what theory is about."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf import batch_norm
from conadv_tf.attacks import attack_ops
from conadv_tf.types import Batches
from conadv_tf.types import Forward
from conadv_tf.types import Loss


@dataclasses.dataclass(frozen=True)
class Objective:
    """L(theta, x) at one theta.

    loss: callable (images, labels) -> scalar, the *sum* over examples. No
      example may change the loss of another.
    variables: theta, a list of variables.
    """

    loss: Callable[[Any, Any], Any]
    variables: Any


def forward_function(network: tf.keras.Model) -> Forward:
    """A network in inference mode.

    Batch norms use their moving statistics, so that the logits of an image do
    not depend on its batch; split ones run the branch in force where this is
    called (`ca.batch_norm_branch`), the main one by default.

    Args:
      network: Keras model, images to logits; a `ConAdvModel` is one.

    Returns:
      Function of images that returns logits.
    """
    branch = batch_norm.current_route().branch

    def forward(images: tf.Tensor) -> tf.Tensor:
        with batch_norm.batch_norm_branch(branch):
            return network(images, training=False)

    return forward


def network_objective(
    network: tf.keras.Model, loss: Optional[Loss] = None
) -> Objective:
    """The loss of a network in inference mode; see `forward_function`.

    Regularization penalties are left out.

    Args:
      network: Keras model, images to logits; a `ConAdvModel` is one.
      loss: callable (labels, outputs) -> scalar, the sum over examples; None
        is the cross-entropy of logits.

    Returns:
      An `Objective` whose variables are the trainable ones.

    Example: two classes told apart by nothing, log 2 for each image.
      >>> layer = tf.keras.layers.Dense(2, kernel_initializer="zeros")
      >>> objective = ca.analysis.network_objective(
      ...     tf.keras.Sequential([tf.keras.Input((4,)), layer])
      ... )
      >>> round(float(objective.loss(tf.ones([3, 4]), tf.zeros([3]))), 3)
      2.079
    """
    return forward_objective(
        forward_function(network), network.trainable_variables, loss
    )


def forward_objective(
    forward: Forward,
    variables: Sequence[tf.Variable],
    loss: Optional[Loss] = None,
) -> Objective:
    """The loss of a function of images; see `network_objective`.

    Args:
      forward: callable, images to logits.
      variables: the weights it reads.
      loss: as in `network_objective`.

    Returns:
      An `Objective`.
    """
    loss = loss or attack_ops.logits_cross_entropy
    return Objective(
        lambda images, labels: loss(labels, forward(images)), list(variables)
    )


def listed_batches(data: Batches) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Reads a dataset into memory, for what goes through it many times.

    Args:
      data: iterable of (images, labels) batches, for example a finite
        `tf.data.Dataset`.

    Returns:
      List of (images, labels) pairs of tensors.

    Raises:
      ValueError: if there is no batch, or a batch is no such pair.
    """
    batches = []
    for batch in data:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise ValueError(
                "Expected batches (images, labels); received "
                f"{type(batch).__name__}"
                + (
                    f" of length {len(batch)}."
                    if hasattr(batch, "__len__")
                    else "."
                )
                + " Sample weights are not supported: map them away."
            )
        batches.append(tuple(tf.convert_to_tensor(part) for part in batch))
    if not batches:
        raise ValueError("Expected at least one batch; received none.")
    return batches


def number_of_examples(batches: list[tuple[tf.Tensor, tf.Tensor]]) -> int:
    """Images in a list of batches."""
    return sum(int(images.shape[0]) for images, _ in batches)
