"""A loss as a function of weights and images, as in the paper's theory."""

from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf import batch_norm
from conadv_tf.attacks import loss as loss_lib
from conadv_tf.types import Batches
from conadv_tf.types import Forward
from conadv_tf.types import Loss


@dataclasses.dataclass(frozen=True)
class Objective:
    """L(theta, x) at one theta.

    Attributes:
      loss: callable (images, labels) -> scalar, the *sum* over examples. The
        loss of an example must not depend on other examples.
      variables: theta, a list of variables.
    """

    loss: Callable[[Any, Any], Any]
    variables: Any


def forward_function(network: tf.keras.Model) -> Forward:
    """Returns a network in inference mode.

    Batch norms use their moving statistics, so that the logits of an image do
    not depend on its batch. Split batch norms use the branch that is selected
    when this is called (`ca.batch_norm_branch`), by default the main branch.

    Args:
      network: Keras model, images to logits, for example a `ConAdvModel`.

    Returns:
      Function of images that returns logits.
    """
    branch = batch_norm.current_route().branch

    def forward(images: tf.Tensor) -> tf.Tensor:
        with batch_norm.batch_norm_branch(branch):
            return tf.nest.flatten(network(images, training=False))[0]

    return forward


def network_objective(
    network: tf.keras.Model, loss: Optional[Loss] = None
) -> Objective:
    """Returns the loss of a network in inference mode.

    See `forward_function` for its batch norms. Regularization penalties are not
    included.

    Args:
      network: Keras model, images to logits, for example a `ConAdvModel`.
      loss: callable (labels, outputs) -> scalar, the sum over examples; None
        is the cross-entropy of logits.

    Returns:
      An `Objective` of the trainable variables.

    Raises:
      ValueError: without a loss, if the network ends in softmax or sigmoid.

    Example: with equal logits for two classes the loss of an image is log 2.
      >>> layer = tf.keras.layers.Dense(2, kernel_initializer="zeros")
      >>> objective = ca.analysis.network_objective(
      ...     tf.keras.Sequential([tf.keras.Input((4,)), layer])
      ... )
      >>> round(float(objective.loss(tf.ones([3, 4]), tf.zeros([3]))), 3)
      2.079
    """
    loss = loss_lib.loss_or_default(network, loss)
    return forward_objective(
        forward_function(network), network.trainable_variables, loss
    )


def forward_objective(
    forward: Forward,
    variables: Sequence[tf.Variable],
    loss: Optional[Loss] = None,
) -> Objective:
    """Returns the loss of a function of images.

    Args:
      forward: callable, images to logits.
      variables: the weights that it reads.
      loss: callable (labels, outputs) -> scalar, the sum over examples; None
        is the cross-entropy of logits.

    Returns:
      An `Objective`.
    """
    loss = loss_lib.loss_or_default(forward, loss)
    return Objective(
        lambda images, labels: loss(labels, forward(images)), list(variables)
    )


def load_batches(data: Batches) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Loads all batches into memory, to iterate over them many times.

    Args:
      data: iterable of (images, labels) batches, for example a finite
        `tf.data.Dataset`.

    Returns:
      List of (images, labels) pairs of tensors.

    Raises:
      ValueError: if there is no batch, or a batch is not such a pair.
    """
    batches = []
    for batch in data:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            has_length = hasattr(batch, "__len__")
            length = f" of length {len(batch)}" if has_length else ""
            raise ValueError(
                "Expected batches (images, labels); received "
                f"{type(batch).__name__}{length}. Sample weights are not "
                "supported; remove them with `map`."
            )
        batches.append(tuple(tf.convert_to_tensor(part) for part in batch))
    if not batches:
        raise ValueError("Expected at least one batch; received none.")
    return batches


def count_examples(batches: list[tuple[tf.Tensor, tf.Tensor]]) -> int:
    """Counts the images in a list of batches."""
    return sum(int(images.shape[0]) for images, _ in batches)
