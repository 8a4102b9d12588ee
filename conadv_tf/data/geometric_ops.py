"""Geometric operations of AutoAugment on one image, equal to Pillow's.

Each takes uint8 [height, width, channels] and returns the same shape. Pixels
from outside the image are grey 128, as in the released TPU code, unless `fill`
is given. The operations run inside `tf.data` maps.

The results equal PIL.Image.transform(AFFINE, NEAREST). Pillow samples the
centre of a pixel (x + 1/2, y + 1/2) and takes the integer part, in steps of
2**-16; TensorFlow samples (x, y) and rounds, in float32. `_affine` converts
between the two. One difference remains: for coordinates over 256 pixels float32
is coarser than 2**-16, so that in larger images a few pixels (below one in a
thousand) may equal a neighbour of Pillow's pixel.
"""

import math

import tensorflow as tf

from conadv_tf.types import TensorLike

FILL = 128
_STEPS_PER_PIXEL = 2.0**16
# Coefficients (a, b, c) of a x + b y + c.
_Row = tuple[TensorLike, TensorLike, TensorLike]


def shear_x(image: tf.Tensor, slope: TensorLike, fill: int = FILL) -> tf.Tensor:
    """Moves row y to the left, by slope * y pixels.

    Args:
      image: uint8 [height, width, channels].
      slope: float scalar.
      fill: grey level of pixels from outside the image.
    """
    return _affine(image, (1.0, slope, 0.0), (0.0, 1.0, 0.0), fill)


def shear_y(image: tf.Tensor, slope: TensorLike, fill: int = FILL) -> tf.Tensor:
    """Moves column x up, by slope * x pixels.

    Args:
      image: uint8 [height, width, channels].
      slope: float scalar.
      fill: grey level of pixels from outside the image.
    """
    return _affine(image, (1.0, 0.0, 0.0), (slope, 1.0, 0.0), fill)


def translate_x(
    image: tf.Tensor, pixels: TensorLike, fill: int = FILL
) -> tf.Tensor:
    """Moves the image to the left.

    Args:
      image: uint8 [height, width, channels].
      pixels: float scalar.
      fill: grey level of pixels from outside the image.
    """
    return _affine(image, (1.0, 0.0, pixels), (0.0, 1.0, 0.0), fill)


def translate_y(
    image: tf.Tensor, pixels: TensorLike, fill: int = FILL
) -> tf.Tensor:
    """Moves the image up.

    Args:
      image: uint8 [height, width, channels].
      pixels: float scalar.
      fill: grey level of pixels from outside the image.
    """
    return _affine(image, (1.0, 0.0, 0.0), (0.0, 1.0, pixels), fill)


def rotate(
    image: tf.Tensor, degrees: TensorLike, fill: int = FILL
) -> tf.Tensor:
    """Rotates about the centre, counter-clockwise, like PIL.Image.rotate.

    Args:
      image: uint8 [height, width, channels].
      degrees: float scalar.
      fill: grey level of pixels from outside the image.
    """
    angle = -tf.cast(degrees, tf.float64) * (math.pi / 180.0)
    cosine, sine = tf.cos(angle), tf.sin(angle)
    height, width = tf.unstack(tf.cast(tf.shape(image)[:2], tf.float64))
    x, y = width / 2.0, height / 2.0
    return _affine(
        image,
        (cosine, sine, x - cosine * x - sine * y),
        (-sine, cosine, y + sine * x - cosine * y),
        fill,
    )


def cutout(
    image: tf.Tensor, half_size: TensorLike, center: tf.Tensor, fill: int = FILL
) -> tf.Tensor:
    """Covers a square, as far as it lies inside the image, with grey 128.

    The square has the rows and columns [center - half_size,
    center + half_size), as in the TPU code.

    Args:
      image: uint8 [height, width, channels].
      half_size: int scalar, pixels.
      center: int32 [2], row and column.
      fill: grey level of the square.
    """
    height, width = tf.unstack(tf.shape(image)[:2])
    half_size = tf.cast(half_size, tf.int32)
    rows = tf.range(height)[:, tf.newaxis, tf.newaxis] - center[0]
    columns = tf.range(width)[tf.newaxis, :, tf.newaxis] - center[1]
    covered = (
        (rows >= -half_size)
        & (rows < half_size)
        & (columns >= -half_size)
        & (columns < half_size)
    )
    return tf.where(covered, tf.constant(fill, tf.uint8), image)


def _affine(image: tf.Tensor, row_x: _Row, row_y: _Row, fill: int) -> tf.Tensor:
    """Computes PIL.Image.transform(AFFINE, (*row_x, *row_y), NEAREST).

    Args:
      image: uint8 [height, width, channels].
      row_x: (a, b, c). The pixel at (x, y) is taken from the column
        a x + b y + c.
      row_y: (a, b, c). The pixel at (x, y) is taken from the row
        a x + b y + c.
      fill: grey level of pixels from outside the image.
    """
    coefficients = [*_nearest(row_x), *_nearest(row_y), 0.0, 0.0]
    transformed = projective_transform(
        image, tf.stack([tf.cast(c, tf.float32) for c in coefficients]), fill
    )
    return tf.ensure_shape(transformed, image.shape)


def projective_transform(
    image: tf.Tensor, coefficients: tf.Tensor, fill: int
) -> tf.Tensor:
    """Transforms an image projectively, taking the nearest pixels.

    Args:
      image: uint8 [height, width, channels].
      coefficients: float32 [8]: (x, y) is taken from
        (c0 x + c1 y + c2, c3 x + c4 y + c5) / (c6 x + c7 y + 1).
      fill: grey level of pixels from outside the image.
    """
    # The only public name of this operation; tensorflow-addons calls it too.
    transformed = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=coefficients[tf.newaxis],
        output_shape=tf.shape(image)[:2],
        fill_value=tf.cast(fill, tf.float32),
        interpolation="NEAREST",
        fill_mode="CONSTANT",
    )
    return transformed[0]


def _nearest(row: _Row) -> _Row:
    """Returns coefficients with which rounding gives Pillow's pixels."""
    a, b, c = (tf.cast(value, tf.float64) for value in row)
    at_center = c + (a + b) / 2.0
    a, b, at_center = (
        tf.floor(value * _STEPS_PER_PIXEL + 0.5) / _STEPS_PER_PIXEL
        for value in (a, b, at_center)
    )
    # floor(v) is round(v - 1/2), except that -1/2 rounds to -1. A quarter of
    # a step avoids this case and is too small to change any other.
    return a, b, at_center - 0.5 + 0.25 / _STEPS_PER_PIXEL


# Keys are the paper's names; each function takes (image, argument, fill).
# Cutout is not included, because it also takes a center.
OPERATIONS = {
    "Rotate": rotate,
    "ShearX": shear_x,
    "ShearY": shear_y,
    "TranslateX": translate_x,
    "TranslateY": translate_y,
}
