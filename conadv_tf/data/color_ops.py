"""Colour operations of AutoAugment on one image, equal to Pillow's.

Each takes uint8 [height, width, channels] with 1 or 3 channels and returns the
same shape. They use TensorFlow operations only and run inside `tf.data` maps.
They follow PIL.ImageOps and PIL.ImageEnhance, in integers or in the precision
that Pillow uses, so that results agree to the grey level. Docstrings mention
differences from the released TPU code.
"""

import tensorflow as tf

from conadv_tf.types import TensorLike


def invert(image: tf.Tensor) -> tf.Tensor:
    """Returns 255 - image, like PIL.ImageOps.invert."""
    return 255 - image


def posterize(image: tf.Tensor, bits: TensorLike) -> tf.Tensor:
    """Keeps the highest bits, like PIL.ImageOps.posterize.

    Args:
      image: uint8 [height, width, channels].
      bits: int scalar from 0 (a black image) to 8 (no change).
    """
    # In int32, because shifting 8 bits by 8 is undefined.
    shift = 8 - tf.cast(bits, tf.int32)
    highest = tf.bitwise.right_shift(tf.cast(image, tf.int32), shift)
    return tf.cast(tf.bitwise.left_shift(highest, shift), tf.uint8)


def solarize(image: tf.Tensor, threshold: TensorLike) -> tf.Tensor:
    """Inverts grey levels from a threshold up, like PIL.ImageOps.solarize.

    Args:
      image: uint8 [height, width, channels].
      threshold: int scalar from 0 (inverts all) to 256 (no change).
    """
    below = tf.cast(image, tf.int32) < tf.cast(threshold, tf.int32)
    return tf.where(below, image, 255 - image)


def solarize_add(image: tf.Tensor, addition: TensorLike) -> tf.Tensor:
    """Adds to grey levels below 128, up to 255.

    Not in Pillow. The TPU code has it as solarize_add, with the same threshold.

    Args:
      image: uint8 [height, width, channels].
      addition: int scalar, grey levels.
    """
    raised = tf.cast(image, tf.int32) + tf.cast(addition, tf.int32)
    raised = tf.cast(tf.clip_by_value(raised, 0, 255), tf.uint8)
    return tf.where(image < 128, raised, image)


def auto_contrast(image: tf.Tensor) -> tf.Tensor:
    """Stretches each channel to 0..255, like PIL.ImageOps.autocontrast."""
    # Pillow's table in Pillow's precision, which determines rounding.
    levels = tf.range(256, dtype=tf.float64)[:, tf.newaxis]
    low = tf.cast(tf.reduce_min(image, axis=(0, 1)), tf.float64)
    high = tf.cast(tf.reduce_max(image, axis=(0, 1)), tf.float64)
    scale = 255.0 / tf.maximum(high - low, 1.0)
    stretched = tf.clip_by_value(levels * scale - low * scale, 0.0, 255.0)
    return _look_up(image, tf.where(high > low, stretched, levels))


def equalize(image: tf.Tensor) -> tf.Tensor:
    """Flattens each channel's histogram, like PIL.ImageOps.equalize."""
    levels = tf.range(256)
    histogram = _histogram(image)  # [256, channels]
    # All pixels except the brightest ones share 255 steps.
    highest = tf.cast(tf.reduce_max(image, axis=(0, 1)), tf.int32)
    is_highest = levels[:, tf.newaxis] == highest
    step = (
        tf.reduce_sum(tf.where(is_highest, 0, histogram), axis=0) // 255
    )  # [channels]
    below = tf.cumsum(histogram, axis=0, exclusive=True)
    flattened = (below + step // 2) // tf.maximum(step, 1)
    table = tf.where(step > 0, flattened, levels[:, tf.newaxis])
    return _look_up(image, tf.clip_by_value(table, 0, 255))


def color(image: tf.Tensor, factor: TensorLike) -> tf.Tensor:
    """Changes saturation, like PIL.ImageEnhance.Color; keeps grey images.

    Args:
      image: uint8 [height, width, channels].
      factor: float scalar; 0 is grey, 1 no change.
    """
    return _blend(_luminance(image), image, factor)


def contrast(image: tf.Tensor, factor: TensorLike) -> tf.Tensor:
    """Changes contrast, like PIL.ImageEnhance.Contrast.

    Differs from the TPU code, whose "mean" is the number of pixels over 256.

    Args:
      image: uint8 [height, width, channels].
      factor: float scalar; 0 is the image's mean luminance, 1 no change.
    """
    luminance = tf.cast(_luminance(image), tf.float64)
    mean = tf.cast(tf.reduce_mean(luminance) + 0.5, tf.uint8)
    return _blend(mean, image, factor)


def brightness(image: tf.Tensor, factor: TensorLike) -> tf.Tensor:
    """Changes brightness, like PIL.ImageEnhance.Brightness.

    Args:
      image: uint8 [height, width, channels].
      factor: float scalar; 0 is black, 1 no change.
    """
    return _blend(tf.constant(0, tf.uint8), image, factor)


def sharpness(image: tf.Tensor, factor: TensorLike) -> tf.Tensor:
    """Changes sharpness, like PIL.ImageEnhance.Sharpness; keeps the border.

    Args:
      image: uint8 [height, width, channels].
      factor: float scalar; 0 smooths with weights 1 around 5, 1 is no change.
    """
    return _blend(_smooth(image), image, factor)


def _look_up(image: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
    """Replaces grey levels by the entries of a table [256, channels]."""
    table = tf.cast(table, tf.uint8)
    channels = [
        tf.gather(table[:, channel], tf.cast(image[..., channel], tf.int32))
        for channel in range(image.shape[-1])
    ]
    return tf.stack(channels, axis=-1)


def _histogram(image: tf.Tensor) -> tf.Tensor:
    """Returns the histogram of each channel, int32 [256, channels]."""
    flat = tf.cast(tf.reshape(image, [-1, image.shape[-1]]), tf.int32)
    counts = [
        tf.math.bincount(flat[:, channel], minlength=256, maxlength=256)
        for channel in range(image.shape[-1])
    ]
    return tf.stack(counts, axis=-1)


def _luminance(image: tf.Tensor) -> tf.Tensor:
    """Returns uint8 [height, width, 1], like PIL.Image.convert("L")."""
    if image.shape[-1] == 1:
        return image
    # Adding channels takes half the time of a sum over the last axis.
    red, green, blue = tf.unstack(tf.cast(image, tf.int32), axis=-1)
    weighted = 19595 * red + 38470 * green + 7471 * blue  # Sum 65536.
    luminance = tf.bitwise.right_shift(weighted + 0x8000, 16)
    return tf.cast(luminance, tf.uint8)[..., tf.newaxis]


def _smooth(image: tf.Tensor) -> tf.Tensor:
    """Applies PIL.ImageFilter.SMOOTH: weights 1 around 5; keeps the border."""
    levels = tf.cast(image, tf.int32)
    height, width = tf.unstack(tf.shape(image)[:2])
    padded = tf.pad(levels, [[1, 1], [1, 1], [0, 0]])
    total = 4 * levels
    for row in range(3):
        for column in range(3):
            total += padded[row : row + height, column : column + width]
    rows = tf.range(height)[:, tf.newaxis, tf.newaxis]
    columns = tf.range(width)[tf.newaxis, :, tf.newaxis]
    inside = (
        (rows > 0) & (rows < height - 1) & (columns > 0) & (columns < width - 1)
    )
    # The nearest integer to total / 13; ties cannot occur.
    smoothed = tf.cast((2 * total + 13) // 26, tf.uint8)
    return tf.where(inside, smoothed, image)


def _blend(
    degenerate: tf.Tensor, image: tf.Tensor, factor: TensorLike
) -> tf.Tensor:
    """Interpolates from degenerate (0) to image (1), clips and truncates."""
    start = tf.cast(degenerate, tf.float32)
    change = tf.cast(image, tf.float32) - start
    blended = start + tf.cast(factor, tf.float32) * change
    return tf.cast(tf.clip_by_value(blended, 0.0, 255.0), tf.uint8)


# Keys are the paper's names; each function takes (image, argument).
OPERATIONS = {
    "AutoContrast": lambda image, _: auto_contrast(image),
    "Brightness": brightness,
    "Color": color,
    "Contrast": contrast,
    "Equalize": lambda image, _: equalize(image),
    "Invert": lambda image, _: invert(image),
    "Posterize": posterize,
    "Sharpness": sharpness,
    "Solarize": solarize,
    "SolarizeAdd": solarize_add,
}
