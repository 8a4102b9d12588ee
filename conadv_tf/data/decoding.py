"""Encoded images, decoded no further than a crop needs.

A part of a JPEG decodes without a look at the rest, so a truncated file
would pass whenever the crop lies in what is left of it. Therefore:

* A file that starts and ends as a JPEG does is decoded in part.
* Anything else is decoded as a whole, where its decoder finds what is missing.
  That is a PNG, whatever its name; a JPEG with padding behind its end; an image
  of another format; and every truncated, empty or foreign file.

A JPEG has no check sum: damage between an intact start and an intact end
gives a wrong image in every decoder, or, where the damage is in the header, an
error.
"""

import functools
import io
import re
from typing import Optional

import numpy as np
import tensorflow as tf

JPEG_START = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_GIF_START = b"GIF8"
_BMP_START = b"BM"
_CMYK = "CMYK JPEG"
_FORMATS = {
    JPEG_START: "JPEG",
    _PNG_START: "PNG",
    _GIF_START: "GIF",
    _BMP_START: "BMP",
    b"RIFF": "WebP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}

# What TensorFlow decodes, by the end of a file's name, and what Pillow does:
# it comes with matplotlib. (Pillow's name of the format: ends of names.)
TENSORFLOW_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".bmp",
    ".gif",
)
_PILLOW_FORMATS = {
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "JPEG2000": (".jp2",),
    "AVIF": (".avif",),
}
# As Pillow and libjpeg decode. TensorFlow's default is wrong by up to 14 grey
# levels, 1.2 on average in a photograph, to save 3% of the time.
_DCT = "INTEGER_ACCURATE"
_NOTHING = np.zeros([1, 1, 3], np.uint8)


class EncodedImage:
    """One image, as three channels (a grey one becomes three equal).

    shape: int32 [3], (height, width, 3).

    What cannot be decoded is a `tf.errors.OpError` when this runs. So is a
    CMYK JPEG: without Adobe's marker, TensorFlow and Pillow read inverse
    colours.
    """

    def __init__(self, contents: tf.Tensor) -> None:
        """Looks at an image; contents: string scalar, the file's bytes."""
        self._contents = contents
        last_two = tf.maximum(tf.strings.length(contents) - 2, 0)
        self._complete_jpeg = tf.logical_and(
            _starts(contents, JPEG_START),
            tf.equal(tf.strings.substr(contents, last_two, 2), JPEG_END),
        )
        self._decoded = tf.cond(
            self._complete_jpeg,
            lambda: _NOTHING,
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
        """Pixels of windows, from one decoding of what contains them all.

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
    """Ends of the names of files that can be decoded here, in small letters."""
    return TENSORFLOW_SUFFIXES + tuple(
        suffix for name in pillow_formats() for suffix in _PILLOW_FORMATS[name]
    )


def decode_whole(contents: tf.Tensor) -> tf.Tensor:
    """The image of a file of any format; of several frames the first.

    Args:
      contents: string scalar.

    Returns:
      uint8 [height, width, 3].

    Raises:
      tf.errors.OpError: if no decoder takes it, when this runs.
    """

    def by_tensorflow() -> tf.Tensor:
        # Despite its name it reads PNG too, whatever the file is called.
        return tf.io.decode_jpeg(contents, channels=3, dct_method=_DCT)

    def others() -> tf.Tensor:
        return tf.io.decode_image(contents, 3, expand_animations=False)

    def by_pillow() -> tf.Tensor:
        return tf.py_function(_decode_by_pillow, [contents], tf.uint8)

    def is_one(*starts: bytes) -> tf.Tensor:
        return functools.reduce(
            tf.logical_or, [_starts(contents, start) for start in starts]
        )

    image = tf.cond(
        is_one(JPEG_START, _PNG_START),
        by_tensorflow,
        lambda: tf.cond(is_one(_GIF_START, _BMP_START), others, by_pillow),
    )
    return tf.ensure_shape(image, [None, None, 3])


def diagnose(contents: bytes) -> Optional[str]:
    """Says what is wrong with a file.

    Args:
      contents: its bytes.

    Returns:
      A phrase, for example "truncated JPEG"; None if it decodes.
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
            return f"{_CMYK}, whose colours decoders disagree about"
        starts = (start for start in _FORMATS if contents.startswith(start))
        kind = _FORMATS.get(next(starts, b""))
        if kind is None:
            return (
                "neither JPEG nor PNG nor another format that is read here, "
                f"its first bytes are {contents[:8]!r}"
            )
        return f"damaged or truncated {kind} ({reason(error)})"
    return None


def reason(error: tf.errors.OpError) -> str:
    """What an error says, without where in TensorFlow and of which file."""
    line = error.message.splitlines()[0]
    return re.sub(r"\{\{.*?\}\} ?| \[Op:.*", "", line).rpartition("; ")[2]


def _starts(contents: tf.Tensor, start: bytes) -> tf.Tensor:
    return tf.equal(tf.strings.substr(contents, 0, len(start)), start)


def _decode_by_pillow(contents: tf.Tensor) -> np.ndarray:
    from PIL import Image

    formats = pillow_formats()
    with Image.open(io.BytesIO(contents.numpy()), formats=formats) as image:
        return np.array(image.convert("RGB"))


@functools.lru_cache
def pillow_formats() -> tuple[str, ...]:
    """Names of the formats that the Pillow here opens; none without it."""
    try:
        from PIL import Image
    except ImportError:
        return ()
    Image.init()
    return tuple(name for name in _PILLOW_FORMATS if name in Image.OPEN)


def _slice(image: tf.Tensor, begin: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    return tf.slice(
        image, tf.concat([begin, [0]], axis=0), tf.concat([size, [3]], axis=0)
    )
