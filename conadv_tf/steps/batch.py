"""One local batch: what a replica receives, and what is made of it."""

import dataclasses
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf.attacks import value_range as value_range_lib
from conadv_tf.steps import batch_spec


@dataclasses.dataclass(frozen=True)
class Batch:
    """One local batch.

    images: float32 [batch, height, width, channels].
    labels: as the dataset gives them.
    sample_weight: float [batch], or None.
    augmented: float32, shape of images; None with one view.
    adversarial: float32, shape of images; None before it is crafted.
    """

    images: Any
    labels: Any
    sample_weight: Optional[Any] = None
    augmented: Optional[Any] = None
    adversarial: Optional[Any] = None

    def attacked(self, adversarial: tf.Tensor) -> "Batch":
        """The same batch with its adversarial images."""
        return dataclasses.replace(self, adversarial=adversarial)

    def parts(self) -> dict[str, tf.Tensor]:
        """The images to train on, by name, in the order of the branches."""
        parts = {
            "clean": self.images,
            "augmented": self.augmented,
            "adversarial": self.adversarial,
        }
        return {
            name: images for name, images in parts.items() if images is not None
        }


FIELDS = tuple(field.name for field in dataclasses.fields(Batch))


def received(
    data: Any,
    views: int,
    size: Optional[int],
    input_shape: tuple[Optional[int], ...],
    value_range: Optional[tuple[float, float]],
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
    return Batch(images[0], labels, weights, *images[1:])
