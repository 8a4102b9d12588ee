"""Augmentations of keras-cv for batches, by name.

keras-cv is imported when `augmentation` is called.
"""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
from typing import Any

import tensorflow as tf

_LAYERS = {
    "randaugment": "RandAugment",
    "augmix": "AugMix",
    "mixup": "MixUp",
    "cutmix": "CutMix",
}
NAMES = tuple(_LAYERS)
MIXING = ("mixup", "cutmix")  # These change labels.


def augmentation(
    name: str, **options: Any
) -> Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Returns a function that augments a batch, for `dataset.map`.

    - "randaugment" (arXiv 1909.13719) and "augmix" (arXiv 1912.02781) change
      each image independently and keep the labels.
    - "mixup" (arXiv 1710.09412) and "cutmix" (arXiv 1905.04899) mix each
      image with another one of the batch and **change labels**: each row holds
      the weights of the two classes. Train with `CategoricalCrossentropy`, and
      measure "accuracy" on data that are not mixed.

    keras-cv's random numbers are stateful. Unlike in `auto_augment`, a seed
    alone does not make them reproducible. Measured with keras-cv 0.9 in a
    `tf.data` map:

    - mixup, cutmix: two runs are equal after `tf.keras.utils.set_random_seed`
      if the map is sequential (`num_parallel_calls=None`). But then *each
      iteration over the dataset repeats the same draws*, so put `repeat()`
      before the map. Without a global seed the option `seed` has no effect.
    - randaugment: two runs are equal after `tf.keras.utils.set_random_seed`
      with the option `seed` if the map is sequential. Each epoch draws new
      numbers.
    - augmix: no setting was found that makes two runs equal.

    Differs from the paper: keras-cv's cutmix clips its rectangle at the border
    but weights labels by the whole rectangle, so a label can understate the
    class of the image itself.

    Args:
      name: one of `NAMES`.
      **options: arguments of `keras_cv.layers.RandAugment`, `AugMix`, `MixUp`
        or `CutMix`, such as magnitude or alpha, except value_range and dtype.

    Returns:
      A function of (images, labels). Images are uint8 [batch, height, width,
      channels] in 0 to 255, or floating point in [0, 1]; labels are one-hot
      floating-point [batch, classes]. It returns (images, labels), both
      float32, of the same shapes, images in [0, 1]. Its layers compute in
      float32, regardless of the global mixed precision policy. It raises a
      ValueError if a shape or dtype differs.

    Raises:
      ValueError: if the name is unknown.
      ImportError: without keras-cv (the extra "data").

    Example: labels become weights of two classes.
      >>> images = tf.data.Dataset.from_tensor_slices(tf.zeros([4, 8, 8, 3]))
      >>> labels = tf.data.Dataset.from_tensor_slices(tf.eye(4))
      >>> dataset = tf.data.Dataset.zip((images, labels)).batch(4)
      >>> dataset = dataset.map(ca.data.augmentation("mixup", alpha=0.5))
      >>> _, mixed = next(iter(dataset))
      >>> tf.reduce_sum(mixed, axis=1).numpy()
      array([1., 1., 1., 1.], dtype=float32)
    """
    if name not in NAMES:
        raise ValueError(
            f"Expected an augmentation among {NAMES}; received {name!r}. "
            "For AutoAugment of single images use "
            "`conadv_tf.data.auto_augment`."
        )
    layer = _layer(name, options)

    def augment(
        images: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        images = _unit_images(tf.convert_to_tensor(images))
        if name not in MIXING and images.shape[-1] != 3:
            raise ValueError(
                f"Expected images with 3 channels for {name}; received shape "
                f"{images.shape}."
            )
        labels = _one_hot_labels(tf.convert_to_tensor(labels))
        image_shape, label_shape = images.shape, labels.shape
        if name in MIXING:
            mixed = layer({"images": images, "labels": labels})
            images, labels = mixed["images"], mixed["labels"]
        else:
            images = layer(images)
        return (
            tf.ensure_shape(tf.clip_by_value(images, 0.0, 1.0), image_shape),
            tf.ensure_shape(labels, label_shape),
        )

    return augment


def _layer(name: str, options: dict[str, Any]) -> tf.keras.layers.Layer:
    try:
        from keras_cv import layers
    except ImportError as error:
        raise ImportError(
            "Expected keras-cv for `augmentation`; importing it failed. Run "
            '`pip install "keras-cv<0.10"` or install the extra [data] of this '
            "package; or use `conadv_tf.data.auto_augment` "
            "(--set augmentation=autoaugment), which does not need it."
        ) from error
    arguments = {} if name in MIXING else {"value_range": (0.0, 1.0)}
    with _float32_policy():
        return getattr(layers, _LAYERS[name])(**arguments, **options)


@contextlib.contextmanager
def _float32_policy() -> Iterator[None]:
    """Makes new layers compute in float32; some fail in bfloat16."""
    # RandAugment creates inner layers, to which it does not pass a dtype.
    outer = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("float32")
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(outer)


def _unit_images(images: tf.Tensor) -> tf.Tensor:
    if images.shape.rank != 4 or not (
        images.dtype == tf.uint8 or images.dtype.is_floating
    ):
        raise ValueError(
            "Expected images [batch, height, width, channels], uint8 or "
            f"floating point in [0, 1]; received {images.dtype.name} "
            f"{images.shape}. Augment after batching."
        )
    if images.dtype == tf.uint8:
        return tf.cast(images, tf.float32) / 255.0
    return tf.cast(images, tf.float32)


def _one_hot_labels(labels: tf.Tensor) -> tf.Tensor:
    if labels.shape.rank != 2 or not labels.dtype.is_floating:
        raise ValueError(
            "Expected one-hot floating-point labels [batch, classes]; received "
            f"{labels.dtype.name} {labels.shape}. Use tf.one_hot."
        )
    return tf.cast(labels, tf.float32)
