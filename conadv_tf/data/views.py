"""Views of an image for a network: crops, mirror images, resizing.

Random views are pure functions of a key, so they do not depend on the order in
which tf.data schedules the work.
"""

from collections.abc import Callable
from typing import Optional
from typing import Union

import tensorflow as tf

from conadv_tf.data.decoding import EncodedImage

# (image, key) to an image of the same shape and dtype.
Augment = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
# The one view of an image, or (clean view, augmented view).
Images = Union[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]
# (image, key) to images; the image may be encoded.
View = Callable[[tf.Tensor, tf.Tensor], Images]

# Inception-style crops, as in the authors' code and most ImageNet training.
_AREA_RANGE = (0.08, 1.0)
_ASPECT_RATIO_RANGE = (3 / 4, 4 / 3)
_MAX_ATTEMPTS = 100
# Pixels around the central crop of an evaluation image, at the network's
# resolution.
_CENTRAL_PADDING = 32
# Each view uses three keys: for its crop, its mirroring and its augmentation.
_KEYS_PER_VIEW = 3


def random_window(shape: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Draws a window of 8 to 100% of the area and aspect ratio 3/4 to 4/3.

    Args:
      shape: int32 [3], (height, width, channels).
      key: int64 [2].

    Returns:
      int32 [4], (top, left, height, width). The whole image if none of 100
      draws fits, as in a very long and narrow image.
    """
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=key,
        min_object_covered=0.0,
        aspect_ratio_range=_ASPECT_RATIO_RANGE,
        area_range=_AREA_RANGE,
        max_attempts=_MAX_ATTEMPTS,
    )
    return tf.concat([begin[:2], size[:2]], axis=0)


def central_window(shape: tf.Tensor, image_size: int) -> tf.Tensor:
    """Returns the central square, image_size / (image_size + 32) of the side.

    Args:
      shape: int32 [3], (height, width, channels); the shorter side counts.
      image_size: height and width of the network's input.

    Returns:
      int32 [4], (top, left, height, width).
    """
    height, width = shape[0], shape[1]
    short = tf.cast(tf.minimum(height, width), tf.float32)
    fraction = image_size / (image_size + _CENTRAL_PADDING)
    side = tf.maximum(tf.cast(fraction * short, tf.int32), 1)
    # Rounded as in the TPU reference code: an odd margin is larger at the top.
    return tf.stack(
        [(height - side + 1) // 2, (width - side + 1) // 2, side, side]
    )


def resize(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """Resizes to a square by bicubic interpolation, without antialiasing.

    Args:
      image: uint8 [height, width, channels].
      image_size: new height and width.

    Returns:
      float32 [image_size, image_size, channels], clipped to [0, 255] because
      bicubic interpolation overshoots.
    """
    image = tf.image.resize(image, [image_size, image_size], "bicubic")
    return tf.clip_by_value(image, 0.0, 255.0)


def resize_whole(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """Resizes whole images to squares, ignoring their aspect ratio.

    Averages areas to make images smaller (for half the size, the mean of each
    2x2 pixels), and interpolates bicubically to make them larger.

    Args:
      image: uint8, or float in [0, 1], [..., height, width, channels], with
        static height and width; one image or a batch.
      image_size: new height and width.

    Returns:
      float32 [..., image_size, image_size, channels] in [0, 1].
    """
    if image.dtype != tf.uint8:
        image = image * 255.0
    if image_size <= min(image.shape[-3:-1]):
        image = tf.image.resize(image, [image_size, image_size], "area")
    else:
        image = resize(image, image_size)
    return to_unit_range(image, tf.float32)


def to_unit_range(image: tf.Tensor, dtype: Union[str, tf.DType]) -> tf.Tensor:
    """Converts pixels from [0, 255], of any dtype, to `dtype` in [0, 1]."""
    return tf.cast(tf.cast(image, tf.float32) / 255.0, dtype)


def central_view(
    image_size: int, dtype: Union[str, tf.DType]
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes the evaluation view of encoded images.

    Args:
      image_size: height and width of the view.
      dtype: tf.float32 or tf.bfloat16.

    Returns:
      Function of contents (string scalar) that returns an image
      [image_size, image_size, 3] in [0, 1]. It raises the errors of
      `EncodedImage`.
    """

    def view(contents: tf.Tensor) -> tf.Tensor:
        encoded = EncodedImage(contents)
        (crop,) = encoded.crops([central_window(encoded.shape, image_size)])
        return to_unit_range(resize(crop, image_size), dtype)

    return view


def random_views(
    image_size: int,
    views: int,
    mirror: bool,
    augment: Optional[Augment],
    dtype: Union[str, tf.DType],
) -> View:
    """Makes training views of encoded images.

    Args:
      image_size: height and width of a view.
      views: 1, or 2 for (clean view, augmented view): independent crops of
        one image, which is read and decoded once. For photographs this took
        15% less time than decoding twice.
      mirror: whether half of the views are mirrored.
      augment: None, or function of (uint8 image, int64 key [2]) that returns
        a uint8 image of the same shape; applied to the last view.
      dtype: tf.float32 or tf.bfloat16.

    Returns:
      Function of contents (string scalar) and key (int64 [2]) that returns an
      image or a pair of images, each [image_size, image_size, 3] in [0, 1]. It
      raises the errors of `EncodedImage`.
    """

    def one_view(
        crop: tf.Tensor, key: tf.Tensor, augment: Optional[Augment]
    ) -> tf.Tensor:
        image = resize(crop, image_size)
        if mirror:
            image = tf.image.stateless_random_flip_left_right(image, key + 1)
        if augment is not None:
            image = _augmented(tf.cast(tf.round(image), tf.uint8), key, augment)
        return to_unit_range(image, dtype)

    def make(contents: tf.Tensor, key: tf.Tensor) -> Images:
        encoded = EncodedImage(contents)
        keys = _keys(key, views)
        crops = encoded.crops([random_window(encoded.shape, k) for k in keys])
        return _each_view(one_view, crops, keys, augment)

    return make


def shifted_views(
    padding: int, mirror: bool, views: int, augment: Optional[Augment]
) -> Optional[View]:
    """Makes training views of small images: shifted and optionally mirrored.

    Args:
      padding: zeros around an image before a window of its size is cut out.
      mirror: whether half of the views are mirrored.
      views: 1, or 2 for (clean view, augmented view).
      augment: None, or function of (uint8 image, int64 key [2]) that returns
        a uint8 image of the same shape; applied to the last view.

    Returns:
      Function of image (uint8, or float in [0, 1], [height, width, channels],
      static) and key (int64 [2]) that returns an image of the same shape and
      dtype, or a pair of them; augmented images are uint8. None if the only
      view is the image itself.
    """
    if views == 1 and not (padding or mirror or augment):
        return None

    def one_view(
        image: tf.Tensor, key: tf.Tensor, augment: Optional[Augment]
    ) -> tf.Tensor:
        if padding or mirror:
            margin = [padding, padding]
            padded = tf.pad(image, [margin, margin, [0, 0]])
            image = tf.image.stateless_random_crop(padded, image.shape, key)
        if mirror:
            image = tf.image.stateless_random_flip_left_right(image, key + 1)
        return image if augment is None else _augmented(image, key, augment)

    def make(image: tf.Tensor, key: tf.Tensor) -> Images:
        return _each_view(one_view, [image] * views, _keys(key, views), augment)

    return make


def _keys(key: tf.Tensor, views: int) -> list[tf.Tensor]:
    """Returns one key per view; the first is the same for one and two views."""
    return [key + view * _KEYS_PER_VIEW for view in range(views)]


def _each_view(
    one_view: Callable[[tf.Tensor, tf.Tensor, Optional[Augment]], tf.Tensor],
    images: list[tf.Tensor],
    keys: list[tf.Tensor],
    augment: Optional[Augment],
) -> Images:
    """Returns the only view, or the pair; `augment` changes the last one."""
    last = one_view(images[-1], keys[-1], augment)
    if len(images) == 1:
        return last
    return one_view(images[0], keys[0], None), last


def _augmented(image: tf.Tensor, key: tf.Tensor, augment: Augment) -> tf.Tensor:
    """Augments an image, uint8 or float in [0, 1], and returns it as uint8."""
    if image.dtype != tf.uint8:
        image = tf.cast(tf.round(image * 255.0), tf.uint8)
    result = augment(image, key + 2)
    if result.dtype != tf.uint8:
        raise ValueError(
            "Expected augment to return a uint8 image; received dtype "
            f"{result.dtype.name}."
        )
    return tf.ensure_shape(result, image.shape)
