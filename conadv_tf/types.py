"""Type aliases and protocols shared by the whole package.

TensorFlow and Keras ship no type stubs, so a type checker sees their classes
as Any. The names here tell readers which value is meant.
"""

from collections.abc import Callable
from collections.abc import Iterable
from typing import Any
from typing import Optional
from typing import Protocol
from typing import Union

import tensorflow as tf

# A tensor, or a value that TensorFlow converts to one: an array, a number, a
# list of numbers.
TensorLike = Any
# Maps images to logits; every Keras classifier is one.
Forward = Callable[[tf.Tensor], tf.Tensor]
# Maps (labels, logits) to the sum of the losses of all examples.
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
# A number of examples: a tensor (int32 scalar) if the batch size is dynamic.
Size = Union[int, tf.Tensor]
# (low, high) of valid pixels.
ValueRange = tuple[float, float]
# Batches of (images, labels), such as a `tf.data.Dataset`.
Batches = Iterable[tuple[TensorLike, TensorLike]]
# The logs that Keras passes to a callback.
Logs = Optional[dict[str, Any]]
# The constructor arguments of a serializable object.
Config = dict[str, Any]


class Attack(Protocol):
    """The interface of an attack, for attacks that you write yourself.

    `ca.ConAdvModel` accepts every object with this interface: `PGD`, `FGSM`
    and `ScheduledAttack`, an instance of your class, or a function with
    an attribute `value_range`. No base class is needed. The package calls

        attack(network, images, labels, seed=seed, loss=loss)

    so `seed` and `loss` must have these names; the first three arguments are
    positional. A training step that shares one forward and backward pass
    between the attack and the update also needs the methods of
    `SinglePassAttack`. To save a model whole, register the class with
    `tf.keras.utils.register_keras_serializable` and give it a `get_config`.

    Attributes:
      value_range: (low, high), the valid pixel values of the network's input.
        Training raises a ValueError for images outside it.

    Example: an attack that adds uniform noise and ignores the network.
      >>> class UniformNoise:
      ...     value_range = (0.0, 1.0)
      ...
      ...     def __call__(self, network, images, labels, seed, loss=None):
      ...         noise = tf.random.stateless_uniform(
      ...             tf.shape(images), seed, -0.1, 0.1
      ...         )
      ...         return tf.clip_by_value(images + noise, *self.value_range)
      >>> network = tf.keras.Sequential(
      ...     [tf.keras.Input((4,)), tf.keras.layers.Dense(3)]
      ... )
      >>> model = ca.ConAdvModel(network, UniformNoise())
      >>> loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
      >>> model.compile("sgd", loss)
      >>> history = model.fit(tf.ones([8, 4]), tf.zeros([8]), verbose=0)
      >>> "adversarial_loss" in history.history
      True
    """

    @property
    def value_range(self) -> ValueRange:
        """The valid pixel values, (low, high)."""

    def __call__(
        self,
        network: Forward,
        images: TensorLike,
        labels: TensorLike,
        seed: TensorLike,
        loss: Optional[Loss] = None,
        targets: Optional[TensorLike] = None,
    ) -> tf.Tensor:
        """Generates adversarial examples.

        In training this is traced into a `tf.function`. It must not write
        variables.

        Args:
          network: callable, images to logits [batch, classes]. It decides
            which weights and which batch norm branch are used.
          images: float32 [batch, ...] inside `value_range`; the batch
            dimension may be unknown.
          labels: class ids ([batch] or [batch, 1], any integer or float
            dtype) or one-hot rows [batch, classes].
          seed: int64 tensor [2] of (run seed, step) in training; evaluation
            may pass an int. Equal seeds must give equal results.
          loss: callable (labels, logits) -> float32 scalar, the sum over the
            examples; None is the cross-entropy of logits.
          targets: labels to descend towards, in the format of `labels`. Only
            your own code passes it, so an attack may leave it out.

        Returns:
          float32, the shape of images, inside `value_range`.
        """


class SinglePassAttack(Attack, Protocol):
    """An attack of one gradient step whose gradient comes from the caller.

    The shared pass trains on the initial points too. It computes the gradient
    by them in the backward pass of the update and never calls `__call__`.
    """

    def initial_points(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Computes the points where the attack begins.

        Args:
          images: float32 [batch, ...] inside `value_range`.
          seed: int64 tensor [2] of (run seed, step).

        Returns:
          float32, the shape of images, inside `value_range`.
        """

    def apply_gradient(
        self,
        points: tf.Tensor,
        gradient: tf.Tensor,
        images: tf.Tensor,
        seed: tf.Tensor,
    ) -> tf.Tensor:
        """Computes adversarial examples from the initial points.

        Args:
          points: float32 [batch, ...], the result of `initial_points`.
          gradient: float32, same shape, a direction that increases the loss
            of each example: the gradient of the training loss, with its sign
            turned where it would lower the attack loss. Entries that are not
            finite are replaced by 0.
          images: float32, same shape, the clean images.
          seed: int64 tensor [2] of (run seed, step), as for `initial_points`.

        Returns:
          float32, same shape, inside `value_range`.
        """
