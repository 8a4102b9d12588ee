"""What networks, losses, attacks and data are to each other, as types.

TensorFlow and Keras have no stubs: a type checker takes their names for Any,
and a reader for what they say.
"""

from collections.abc import Callable
from collections.abc import Iterable
from typing import Any
from typing import Optional
from typing import Protocol

import tensorflow as tf

# A tensor, or what becomes one: arrays, numbers, lists of them.
TensorLike = Any
# Images to logits; every Keras model is one.
Forward = Callable[[tf.Tensor], tf.Tensor]
# (labels, logits) to the sum of the losses of all examples.
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
# (low, high) of valid pixels.
ValueRange = tuple[float, float]
# Batches of (images, labels), such as a `tf.data.Dataset`.
Batches = Iterable[tuple[TensorLike, TensorLike]]
# Of a callback.
Logs = Optional[dict[str, Any]]
# Constructor arguments, of what is serializable.
Config = dict[str, Any]


class Attack(Protocol):
    """What makes adversarial examples; see `PGD.__call__`.

    value_range: (low, high) of valid pixels.
    """

    @property
    def value_range(self) -> ValueRange:
        """Where images lie, and what is made of them."""

    def __call__(
        self,
        network: Forward,
        images: TensorLike,
        labels: TensorLike,
        seed: TensorLike,
        loss: Optional[Loss] = None,
        targets: Optional[TensorLike] = None,
    ) -> tf.Tensor:
        """Adversarial examples of the shape of images."""
