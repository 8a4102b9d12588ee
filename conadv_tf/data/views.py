"""What a network sees of an image: crops, mirror images, resizing.

Everything random is a pure function of a key, so it does not depend on how
tf.data schedules the work.
"""

from collections.abc import Callable
from typing import Optional
from typing import Union

import tensorflow as tf

from conadv_tf.data.decoding import EncodedImage

# (image, key) to an image like it.
Augment = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
# The one view of an image, or (clean view, augmented view).
Images = Union[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]
# (image, key) to images; the image may be encoded.
View = Callable[[tf.Tensor, tf.Tensor], Images]

# Inception-style crops, as in the authors' code and most ImageNet training.
_AREA = (0.08, 1.0)
_ASPECT = (3 / 4, 4 / 3)
_ATTEMPTS = 100
# Pixels left out around the central crop of an evaluation image, at the
# network's resolution.
_CENTRAL_PADDING = 32
# Draws of one view: crop, mirror, augmentation.
_DRAWS_PER_VIEW = 3


def random_window(shape: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Draws a window of 8 to 100% of the area and aspect 3/4 to 4/3.

    Args:
      shape: int32 [3], (height, width, channels).
      key: int64 [2].

    Returns:
      int32 [4], (top, left, height, width). The whole image if 100 draws do
      not fit, as in a very long and narrow one.
    """
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        shape,
        tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=key,
        min_object_covered=0.0,
        aspect_ratio_range=_ASPECT,
        area_range=_AREA,
        max_attempts=_ATTEMPTS,
    )
    return tf.concat([begin[:2], size[:2]], axis=0)


def central_window(shape: tf.Tensor, image_size: int) -> tf.Tensor:
    """The central square, image_size / (image_size + 32) of the short side.

    Args:
      shape: int32 [3], (height, width, channels).
      image_size: resolution of the network.

    Returns:
      int32 [4], (top, left, height, width).
    """
    height, width = shape[0], shape[1]
    short = tf.cast(tf.minimum(height, width), tf.float32)
    part = image_size / (image_size + _CENTRAL_PADDING)
    side = tf.maximum(tf.cast(part * short, tf.int32), 1)
    # Rounded as in the TPU reference code: an odd margin is larger above.
    return tf.stack(
        [(height - side + 1) // 2, (width - side + 1) // 2, side, side]
    )


def resize(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """Bicubic resizing to a square, without antialiasing.

    Args:
      image: uint8 [height, width, channels].
      image_size: new height and width.

    Returns:
      float32 [image_size, image_size, channels] in [0, 255]: what bicubic
      interpolation overshoots is clipped.
    """
    image = tf.image.resize(image, [image_size, image_size], "bicubic")
    return tf.clip_by_value(image, 0.0, 255.0)


def resize_whole(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """Resizes whole images to squares, whatever their proportions.

    Smaller by averaging areas (halved, the mean of each 2x2 pixels), else by
    bicubic interpolation.

    Args:
      image: uint8, or float in [0, 1], [..., height, width, channels], of
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
    return to_unit(image, tf.float32)


def to_unit(image: tf.Tensor, dtype: Union[str, tf.DType]) -> tf.Tensor:
    """Pixels in 0 to 255 of any type, as `dtype` in [0, 1]."""
    return tf.cast(tf.cast(image, tf.float32) / 255.0, dtype)


def central_view(
    image_size: int, dtype: Union[str, tf.DType]
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes the evaluation view of encoded images.

    Args:
      image_size: height and width of the view.
      dtype: tf.float32 or tf.bfloat16.

    Returns:
      Function of contents (string scalar): image [image_size, image_size, 3]
      in [0, 1]. It fails as `EncodedImage` does.
    """

    def view(contents: tf.Tensor) -> tf.Tensor:
        encoded = EncodedImage(contents)
        (crop,) = encoded.crops([central_window(encoded.shape, image_size)])
        return to_unit(resize(crop, image_size), dtype)

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
        one image, which is read and decoded once. On photographs that took
        15% less time than decoding twice.
      mirror: whether half of the views are mirror images.
      augment: None, or function of (uint8 image, int64 key [2]) that returns
        a uint8 image of the same shape; applied to the last view.
      dtype: tf.float32 or tf.bfloat16.

    Returns:
      Function of contents (string scalar) and key (int64 [2]): image or pair
      of images, each [image_size, image_size, 3] in [0, 1]. It fails as
      `EncodedImage` does.
    """

    def one_view(
        crop: tf.Tensor, key: tf.Tensor, augment: Optional[Augment]
    ) -> tf.Tensor:
        image = resize(crop, image_size)
        if mirror:
            image = tf.image.stateless_random_flip_left_right(image, key + 1)
        if augment is not None:
            image = _augmented(tf.cast(tf.round(image), tf.uint8), key, augment)
        return to_unit(image, dtype)

    def make(contents: tf.Tensor, key: tf.Tensor) -> Images:
        encoded = EncodedImage(contents)
        keys = _keys(key, views)
        crops = encoded.crops([random_window(encoded.shape, k) for k in keys])
        return _each_view(one_view, crops, keys, augment)

    return make


def shifted_views(
    padding: int, mirror: bool, views: int, augment: Optional[Augment]
) -> Optional[View]:
    """Makes training views of small images: shifted, perhaps mirrored.

    Args:
      padding: zeros around an image before a window of its size is cut out.
      mirror: whether half of the views are mirror images.
      views: 1 or 2, as in `random_views`.
      augment: as in `random_views`.

    Returns:
      Function of image (uint8, or float in [0, 1], [height, width, channels],
      static) and key (int64 [2]): an image like it, or a pair of them; uint8
      what `augment` returns. None if the only view is the image itself.
    """
    if views == 1 and not (padding or mirror or augment):
        return None

    def one_view(
        image: tf.Tensor, key: tf.Tensor, augment: Optional[Augment]
    ) -> tf.Tensor:
        if padding or mirror:
            image = crop_and_mirror(image, key, padding, mirror)
        return image if augment is None else _augmented(image, key, augment)

    def make(image: tf.Tensor, key: tf.Tensor) -> Images:
        return _each_view(one_view, [image] * views, _keys(key, views), augment)

    return make


def crop_and_mirror(
    image: tf.Tensor, key: tf.Tensor, padding: int, mirror: bool
) -> tf.Tensor:
    """A random window of the padded image, of the image's size."""
    shape = tf.shape(image)
    padded = tf.image.pad_to_bounding_box(
        image,
        padding,
        padding,
        shape[0] + 2 * padding,
        shape[1] + 2 * padding,
    )
    cropped = tf.image.stateless_random_crop(padded, image.shape, seed=key)
    if mirror:
        cropped = tf.image.stateless_random_flip_left_right(cropped, key + 1)
    return cropped


def _keys(key: tf.Tensor, views: int) -> list[tf.Tensor]:
    """A key for each view; the first view's does not depend on their number."""
    return [key + view * _DRAWS_PER_VIEW for view in range(views)]


def _each_view(
    one_view: Callable[[tf.Tensor, tf.Tensor, Optional[Augment]], tf.Tensor],
    images: list[tf.Tensor],
    keys: list[tf.Tensor],
    augment: Optional[Augment],
) -> Images:
    """The only view, or the pair; `augment` is for the last."""
    if len(images) == 1:
        return one_view(images[0], keys[0], augment)
    return (
        one_view(images[0], keys[0], None),
        one_view(images[1], keys[1], augment),
    )


def _augmented(image: tf.Tensor, key: tf.Tensor, augment: Augment) -> tf.Tensor:
    """The augmented image, uint8, of one that is so or float in [0, 1]."""
    if image.dtype != tf.uint8:
        image = tf.cast(tf.round(image * 255.0), tf.uint8)
    result = augment(image, key + 2)
    if result.dtype != tf.uint8:
        raise ValueError(
            "Expected augment to return a uint8 image; received dtype "
            f"{result.dtype.name}."
        )
    return tf.ensure_shape(result, image.shape)
