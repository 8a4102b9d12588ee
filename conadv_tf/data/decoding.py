"""Decodes only the part of an encoded image that a crop needs.

Part of a JPEG can be decoded without reading the rest, so a truncated file
would go unnoticed whenever the crop lies before its end. Therefore:

* A file that starts and ends like a JPEG is decoded in part.
* Any other file is decoded as a whole, so that its decoder notices missing
  data. This applies to a PNG, whatever its name; a JPEG with padding after its
  end; an image of another format; and every truncated, empty or foreign file.

A JPEG has no checksum. Damage between an intact start and an intact end gives
a wrong image in every decoder, or an error if the damage is in the header.
"""

from collections.abc import Sequence
import functools
import re
from typing import Optional
import warnings

import numpy as np
import tensorflow as tf

from conadv_tf.data import pillow_images

JPEG_START = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_GIF_START = b"GIF8"
_CMYK = "CMYK JPEG"
_FORMATS = {
    JPEG_START: "JPEG",
    _PNG_START: "PNG",
    _GIF_START: "GIF",
    b"BM": "BMP",
    b"RIFF": "WebP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\0\0\0\x0cjP": "JPEG 2000",
}

# The formats that TensorFlow decodes.
_TF_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif")
# The method of Pillow and libjpeg. TensorFlow's default is wrong by up to 14
# grey levels, 1.2 on average in a photograph, to save 3% of the time.
_DCT = "INTEGER_ACCURATE"
# Formats that can store 16 bits per pixel, and the number of files looked at.
_DEEP_SUFFIXES = (".png", ".tif", ".tiff", ".jp2")
_SAMPLED_FILES = 10
_PLACEHOLDER = np.zeros([1, 1, 3], np.uint8)


class EncodedImage:
    """One encoded image, decoded to three channels (equal ones if it is grey).

    Running it raises a `tf.errors.OpError` if the image cannot be decoded or is
    a CMYK JPEG, whose colours TensorFlow and Pillow read as each other's
    inverse if Adobe's marker is missing.

    Attributes:
      shape: int32 [3], (height, width, 3).
    """

    def __init__(self, contents: tf.Tensor) -> None:
        """Reads the shape of an image.

        Args:
          contents: string scalar, the file's bytes.
        """
        self._contents = contents
        last_two = tf.maximum(tf.strings.length(contents) - 2, 0)
        self._complete_jpeg = tf.logical_and(
            _starts_with(contents, JPEG_START),
            tf.equal(tf.strings.substr(contents, last_two, 2), JPEG_END),
        )
        self._decoded = tf.cond(
            self._complete_jpeg,
            lambda: _PLACEHOLDER,
            lambda: decode_whole(contents),
        )
        shape = tf.cond(
            self._complete_jpeg,
            lambda: tf.io.extract_jpeg_shape(contents),
            lambda: tf.shape(self._decoded),
        )
        check = tf.debugging.Assert(shape[2] != 4, [_CMYK])
        with tf.control_dependencies([check] if check is not None else []):
            self.shape = tf.concat([shape[:2], [3]], axis=0)

    def crops(self, windows: list[tf.Tensor]) -> list[tf.Tensor]:
        """Returns the pixels of windows, decoding their bounding box once.

        Args:
          windows: list of int32 [4], (top, left, height, width), inside the
            image.

        Returns:
          List of uint8 [height, width, 3].
        """
        begins = [window[:2] for window in windows]
        ends = [window[:2] + window[2:] for window in windows]
        corner = functools.reduce(tf.minimum, begins)
        size = functools.reduce(tf.maximum, ends) - corner
        region = tf.cond(
            self._complete_jpeg,
            lambda: tf.io.decode_and_crop_jpeg(
                self._contents,
                tf.concat([corner, size], axis=0),
                channels=3,
                dct_method=_DCT,
            ),
            lambda: _slice(self._decoded, corner, size),
        )
        return [
            _slice(region, begin - corner, end - begin)
            for begin, end in zip(begins, ends)
        ]


def readable_suffixes() -> tuple[str, ...]:
    """Returns the suffixes, in lower case, of files that can be decoded."""
    return _TF_SUFFIXES + tuple(
        suffix
        for name in pillow_images.formats()
        for suffix in pillow_images.SUFFIXES[name]
    )


def decode_whole(contents: tf.Tensor) -> tf.Tensor:
    """Returns the image of a file of any format, or its first frame.

    Args:
      contents: string scalar, the file's bytes.

    Returns:
      uint8 [height, width, 3].

    Raises:
      tf.errors.OpError: if no decoder accepts the file; raised when run.
    """
    image = tf.case(
        [
            (
                tf.logical_or(
                    _starts_with(contents, JPEG_START),
                    _starts_with(contents, _PNG_START),
                ),
                # Despite its name, decode_jpeg reads PNG too.
                lambda: tf.io.decode_jpeg(contents, 3, dct_method=_DCT),
            ),
            (
                _starts_with(contents, _GIF_START),
                lambda: tf.io.decode_image(
                    contents, 3, expand_animations=False
                ),
            ),
        ],
        default=lambda: tf.py_function(
            lambda contents: pillow_images.decode(contents.numpy()),
            [contents],
            tf.uint8,
        ),
    )
    return tf.ensure_shape(image, [None, None, 3])


def diagnose(contents: bytes) -> Optional[str]:
    """Describes the problem of an image file.

    Args:
      contents: the file's bytes.

    Returns:
      A phrase, for example "truncated JPEG"; None if the file can be decoded.
    """
    if not contents:
        return "empty file"
    try:
        EncodedImage(tf.constant(contents))
        decode_whole(tf.constant(contents))
    except tf.errors.OpError as error:
        is_jpeg = contents.startswith(JPEG_START)
        if is_jpeg and not contents.rstrip(b"\0").endswith(JPEG_END):
            return "truncated JPEG: it has no end-of-image marker"
        if _CMYK in error.message:
            return f"{_CMYK}, whose colours depend on the decoder"
        starts = (start for start in _FORMATS if contents.startswith(start))
        kind = _FORMATS.get(next(starts, b""))
        if kind is None:
            return (
                "neither JPEG nor PNG nor another supported format, "
                f"its first bytes are {contents[:8]!r}"
            )
        unsupported = pillow_images.diagnose(contents)
        return unsupported or f"damaged or truncated {kind} ({reason(error)})"
    return None


def warn_of_unused_bits(path: str, files: Sequence[str]) -> None:
    """Warns if images of 16 bits use less than a quarter of their range.

    Data of 12 bits in files of 16 bits are nearly black. A few files are read.

    Args:
      path: the folder, for the message.
      files: paths of images.
    """
    deep = [name for name in files if name.lower().endswith(_DEEP_SUFFIXES)]
    brightest = []
    for name in deep[:: max(1, -(-len(deep) // _SAMPLED_FILES))]:
        try:
            contents = tf.io.read_file(name)
            if pillow_images.has_16_bits(contents.numpy()):
                brightest.append(int(tf.reduce_max(decode_whole(contents))))
        except Exception:
            continue  # A bad record, which is named when it is read.
    if brightest and max(brightest) < 64:
        warnings.warn(
            f"Expected images of 16 bits per pixel in {path!r} that use their "
            f"range; received no pixel over {max(brightest) * 256 + 255} of "
            f"65535 in {len(brightest)} of them. Data of 8 to 14 bits in files "
            "of 16 bits are nearly black, so the attack would overwhelm them. "
            "Scale them to 0 to 65535, or store 8 bits."
        )


def reason(error: tf.errors.OpError) -> str:
    """Returns an error's message without TensorFlow operation and file name."""
    line = error.message.splitlines()[0]
    return re.sub(r"\{\{.*?\}\} ?| \[Op:.*", "", line).rpartition("; ")[2]


def _starts_with(contents: tf.Tensor, start: bytes) -> tf.Tensor:
    return tf.equal(tf.strings.substr(contents, 0, len(start)), start)


def _slice(image: tf.Tensor, begin: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    return tf.slice(
        image, tf.concat([begin, [0]], axis=0), tf.concat([size, [3]], axis=0)
    )
