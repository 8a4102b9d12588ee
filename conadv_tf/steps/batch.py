"""The local batch of one replica and its clean and adversarial sub-batches."""

import dataclasses
import math
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf.attacks import value_range as value_range_lib
from conadv_tf.types import Size


@dataclasses.dataclass(frozen=True)
class SubBatch:
    """Images that go through the network in the same way.

    Attributes:
      images: float32 [size, height, width, channels].
      labels: [size, ...], in the dataset's format.
      sample_weight: float [size], or None.
    """

    images: tf.Tensor
    labels: tf.Tensor
    sample_weight: Optional[tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Batch:
    """One local batch.

    Attributes:
      images: float32 [batch, height, width, channels].
      labels: [batch, ...], in the dataset's format.
      sample_weight: float [batch], or None.
      augmented: float32, the shape of `images`; None with one view.
      adversarial: float32 [attacked, height, width, channels]; None until the
        attack has generated them.
      fraction: the share of the batch that is attacked, in (0, 1]. The
        attacked images are the first ones.
    """

    images: Any
    labels: Any
    sample_weight: Optional[Any] = None
    augmented: Optional[Any] = None
    adversarial: Optional[Any] = None
    fraction: float = 1.0

    def attacked_sub_batch(self) -> SubBatch:
        """Returns the clean images that are attacked.

        Raises:
          ValueError: if the fraction of a static batch size is less than one
            image.
        """
        if self.fraction == 1:
            return self._clean()
        return self._first(attacked_size(size_of(self.images), self.fraction))

    def attacked_only(self) -> "Batch":
        """Returns a batch of the clean images that are attacked."""
        attacked = self.attacked_sub_batch()
        return Batch(attacked.images, attacked.labels, attacked.sample_weight)

    def clean_remainder(self) -> SubBatch:
        """Returns the clean images that are not attacked, at least the last.

        Without any clean image the main batch norm would have no statistics.
        """
        size = size_of(self.images)
        attacked = size_of(self.attacked_sub_batch().images)
        if isinstance(size, int):
            return self._slice(slice(min(attacked, size - 1), None))
        return self._slice(slice(tf.minimum(attacked, size - 1), None))

    def with_adversarial(self, adversarial: tf.Tensor) -> "Batch":
        """Returns the same batch with its adversarial images."""
        return dataclasses.replace(self, adversarial=adversarial)

    def with_zero_perturbation(self) -> "Batch":
        """Returns the same batch with clean images as adversarial ones."""
        return self.with_adversarial(self.attacked_sub_batch().images)

    def sub_batches(self) -> dict[str, SubBatch]:
        """Returns the sub-batches to train on, in the order of the branches.

        Returns:
          {"clean", "augmented" with two views, "adversarial" if there are
          adversarial images: `SubBatch`}.
        """
        found = {"clean": self._clean()}
        if self.augmented is not None:
            found["augmented"] = dataclasses.replace(
                found["clean"], images=self.augmented
            )
        if self.adversarial is not None:
            attacked = self._clean()
            if self.fraction < 1:
                attacked = self._first(size_of(self.adversarial))
            found["adversarial"] = dataclasses.replace(
                attacked, images=self.adversarial
            )
        return found

    def _clean(self) -> SubBatch:
        return SubBatch(self.images, self.labels, self.sample_weight)

    def _first(self, count: Size) -> SubBatch:
        return self._slice(slice(count))

    def _slice(self, where: slice) -> SubBatch:
        weight = self.sample_weight
        return SubBatch(
            self.images[where],
            self.labels[where],
            None if weight is None else weight[where],
        )


def size_of(images: tf.Tensor) -> Size:
    """Returns the number of images."""
    return images.shape[0] or tf.shape(images)[0]


def attacked_size(size: Size, fraction: float) -> Size:
    """Returns the number of attacked images, rounded, at least one.

    Args:
      size: number of images in the local batch.
      fraction: share of them that is attacked, in (0, 1].

    Raises:
      ValueError: if the fraction of a static size is less than one image.
    """
    if not isinstance(size, int):
        exact = tf.cast(size, tf.float64) * fraction
        return tf.maximum(tf.cast(tf.round(exact), tf.int32), 1)
    if size * fraction < 1:
        raise ValueError(
            f"Expected fraction={fraction} of a local batch to be at least one "
            f"image; each replica receives {size} image(s). Raise the fraction "
            f"to {math.ceil(100 / size) / 100}, or raise the batch size: batch "
            "norm needs many images of each kind (the paper uses 64)."
        )
    return round(size * fraction)


def attacked_spec(spec: tf.TensorSpec, fraction: float) -> tf.TensorSpec:
    """Returns the TensorSpec of the attacked images of a local batch."""
    size = spec.shape[0]
    if size is not None:
        size = attacked_size(size, fraction)
    return tf.TensorSpec([size, *spec.shape[1:]], spec.dtype)


def views_of(images: Any, num_views: int) -> tuple[Any, ...]:
    """Returns the views of a batch's images, or of their spec, as a tuple.

    Args:
      images: one tensor or spec, or a pair of them.
      num_views: 1 or 2.

    Returns:
      Tuple of `num_views` tensors or specs.

    Raises:
      ValueError: if the images do not have that many views.
    """
    views = tuple(images) if isinstance(images, (tuple, list)) else (images,)
    if len(views) == num_views and not any(
        isinstance(view, (dict, list, tuple)) for view in views
    ):
        return views
    raise ValueError(
        "Expected one tensor of images, or with ConAdvModel(views=2) a pair "
        "(clean images, augmented images), as in ((clean, augmented), labels); "
        f"received, with views={num_views}, the structure {images}."
    )


def unpack(
    data: Any,
    views: int,
    size: Optional[int],
    input_shape: tf.TensorShape,
    value_range: Optional[tuple[float, float]],
    fraction: float = 1.0,
) -> Batch:
    """Returns the `Batch` of the data that Keras passes to `train_step`.

    Args:
      data: (images, labels[, sample_weight]); with two views the images are
        (clean, augmented).
      views: 1 or 2.
      size: static number of images, or None where it is unknown.
      input_shape: [batch, ...] of the network's images.
      value_range: (low, high) of the attack; the images become float32. With
        None they keep their dtype.
      fraction: share of the batch that is attacked.

    Raises:
      ValueError: if labels or views are missing, or if images are integers and
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
    images = list(views_of(images, views))
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
