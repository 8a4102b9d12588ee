"""One local batch: what a replica receives, and what is made of it."""

import dataclasses
import math
from typing import Any
from typing import Optional
from typing import Union

import tensorflow as tf

from conadv_tf.attacks import value_range as value_range_lib
from conadv_tf.steps import batch_spec

# Number of images: static where it is known, else an int32 scalar.
Size = Union[int, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Part:
    """The images of a batch that are trained on in one way.

    images: float32 [part, height, width, channels].
    labels: theirs, as the dataset gives them.
    sample_weight: float [part], or None.
    """

    images: tf.Tensor
    labels: tf.Tensor
    sample_weight: Optional[tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Batch:
    """One local batch.

    images: float32 [batch, height, width, channels].
    labels: as the dataset gives them.
    sample_weight: float [batch], or None.
    augmented: float32, shape of images; None with one view.
    adversarial: float32 [attacked, ...]; None before they are crafted.
    fraction: of the batch that is attacked, the first images; in (0, 1].
    """

    images: Any
    labels: Any
    sample_weight: Optional[Any] = None
    augmented: Optional[Any] = None
    adversarial: Optional[Any] = None
    fraction: float = 1.0

    def to_attack(self) -> Part:
        """The clean images that are attacked.

        Raises:
          ValueError: if a batch of static size has less than one of them.
        """
        if self.fraction == 1:
            return self._clean()
        return self._first(attacked_images(size_of(self.images), self.fraction))

    def only_attacked(self) -> "Batch":
        """The clean images that are attacked, as a batch of their own."""
        part = self.to_attack()
        return Batch(part.images, part.labels, part.sample_weight)

    def not_attacked(self) -> Part:
        """The clean images behind those that are attacked."""
        return self._slice(slice(size_of(self.to_attack().images), None))

    def attacked(self, adversarial: tf.Tensor) -> "Batch":
        """The same batch with its adversarial images."""
        return dataclasses.replace(self, adversarial=adversarial)

    def unperturbed(self) -> "Batch":
        """The same batch with a zero perturbation."""
        return self.attacked(self.to_attack().images)

    def parts(self) -> dict[str, Part]:
        """What to train on, by name, in the order of the branches."""
        parts = {"clean": self._clean()}
        if self.augmented is not None:
            parts["augmented"] = dataclasses.replace(
                parts["clean"], images=self.augmented
            )
        if self.adversarial is not None:
            attacked = self._clean()
            if self.fraction < 1:
                attacked = self._first(size_of(self.adversarial))
            parts["adversarial"] = dataclasses.replace(
                attacked, images=self.adversarial
            )
        return parts

    def _clean(self) -> Part:
        return Part(self.images, self.labels, self.sample_weight)

    def _first(self, count: Size) -> Part:
        return self._slice(slice(count))

    def _slice(self, where: slice) -> Part:
        weight = self.sample_weight
        return Part(
            self.images[where],
            self.labels[where],
            None if weight is None else weight[where],
        )


def size_of(images: tf.Tensor) -> Size:
    """Number of images."""
    return images.shape[0] or tf.shape(images)[0]


def attacked_images(size: Size, fraction: float) -> Size:
    """How many images of a local batch are attacked: rounded, at least one.

    Args:
      size: of the local batch.
      fraction: in (0, 1].

    Raises:
      ValueError: if the fraction of a static size is less than one image.
    """
    if not isinstance(size, int):
        exact = tf.cast(size, tf.float64) * fraction
        return tf.maximum(tf.cast(tf.round(exact), tf.int32), 1)
    if size * fraction < 1:
        raise ValueError(
            f"Expected adversarial_fraction={fraction} of a local batch to be "
            f"an image at least; a replica has {size}. Raise the fraction to "
            f"{math.ceil(100 / size) / 100}, or the batch on each replica: a "
            "batch norm wants many images of each kind (the paper has 64)."
        )
    return round(size * fraction)


def spec_of_first(spec: tf.TensorSpec, fraction: float) -> tf.TensorSpec:
    """The TensorSpec of the part of a local batch that is attacked."""
    size = spec.shape[0]
    if size is not None:
        size = attacked_images(size, fraction)
    return tf.TensorSpec([size, *spec.shape[1:]], spec.dtype)


def received(
    data: Any,
    views: int,
    size: Optional[int],
    input_shape: tuple[Optional[int], ...],
    value_range: Optional[tuple[float, float]],
    fraction: float = 1.0,
) -> Batch:
    """The batch that Keras hands to a step.

    Args:
      data: (images, labels[, sample_weight]); with two views the images are
        (clean, augmented).
      views: 1 or 2.
      size: static number of images, where the step knows it; else None.
      input_shape: [batch, ...] of the network's images.
      value_range: (low, high) of the attack, for which images become float32;
        None leaves them as they are.
      fraction: of the batch that is attacked.

    Raises:
      ValueError: if labels or views are missing, or images are integers and
        there is an attack.
    """
    images, labels, weights = tf.keras.utils.unpack_x_y_sample_weight(data)
    if labels is None:
        raise ValueError(
            "Expected (images, labels) or (images, labels, sample_weight); "
            "received images without labels."
        )
    for name, each in (("labels", labels), ("sample weights", weights)):
        if isinstance(each, (dict, list, tuple)):
            raise ValueError(
                f"Expected one tensor of {name}; received the structure {each}."
            )
    images = list(batch_spec.views_of(images, views))
    if size is not None:
        for tensor in (*images, labels, weights):
            if tensor is not None:
                tensor.set_shape([size, *tensor.shape[1:]])
    if value_range is not None:
        images = [
            # Keras's generators leave all dimensions open.
            tf.ensure_shape(
                value_range_lib.float_images(view, value_range), input_shape
            )
            for view in images
        ]
    augmented = images[1] if views == 2 else None
    return Batch(images[0], labels, weights, augmented, None, fraction)
