"""Decodes the image formats that Pillow reads (it comes with matplotlib).

Pillow converts pixels of more than 8 bits to RGB by clipping them at 255. Here
unsigned pixels are scaled by the depth of the file, and other pixels are
refused.
"""

import functools
import io
from typing import Any
from typing import Optional

import numpy as np

# Suffixes by Pillow's name of the format. TensorFlow decodes BMP too, but takes
# the indices of a palette for grey levels and refuses 1 and 4 bits per pixel.
SUFFIXES = {
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "JPEG2000": (".jp2",),
    "AVIF": (".avif",),
}
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # Tags of TIFF.
_WHITE_IS_ZERO = 0
_SAMPLE_FORMATS = {1: "unsigned integer", 2: "signed integer", 3: "float"}
_UNSIGNED = (1, 4)  # 4 is "undefined".


@functools.lru_cache
def formats() -> tuple[str, ...]:
    """Returns the formats that the installed Pillow opens, if there is one."""
    try:
        from PIL import Image
    except ImportError:
        return ()
    Image.init()
    return tuple(name for name in SUFFIXES if name in Image.OPEN)


def decode(contents: bytes) -> np.ndarray:
    """Returns the image of a file, or its first frame.

    Args:
      contents: the file's bytes.

    Returns:
      uint8 [height, width, 3]. Pixels of 12 or 16 bits are divided by 16 or
      256, as TensorFlow does for PNG. Transparency is dropped.

    Raises:
      ValueError: if the pixels are floats or signed, or have 32 bits.
    """
    with _opened(contents) as image:
        problem = _unsupported_pixels(image)
        if problem is not None:
            raise ValueError(problem)
        if not image.mode.startswith("I;16"):
            return np.array(image.convert("RGB"))
        tags = getattr(image, "tag_v2", {})
        (bits,) = tags.get(_BITS_PER_SAMPLE, (16,))
        levels = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
        # Pillow inverts such images of 8 bits, but not of 16 bits.
        if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
            levels = 255 - levels
        return np.repeat(levels[..., np.newaxis], 3, axis=-1)


def diagnose(contents: bytes) -> Optional[str]:
    """Describes why an intact file cannot be decoded; None if it is damaged."""
    try:
        from PIL import Image
    except ImportError:
        return None
    try:
        with _opened(contents) as image:
            return _unsupported_pixels(image)
    except Image.DecompressionBombError as error:
        return (
            "an image larger than Pillow's limit, PIL.Image.MAX_IMAGE_PIXELS "
            f"({str(error).split(',')[0]}); make it smaller"
        )
    except Exception:
        return None


def has_16_bits(contents: bytes) -> bool:
    """Returns whether the pixels of an intact file have 16 bits."""
    with _opened(contents, (*formats(), "PNG")) as image:
        if image.format == "PNG":
            return contents[24] == 16
        tags = getattr(image, "tag_v2", {})
        default = 16 if image.mode.startswith("I;16") else 8
        return 16 in tags.get(_BITS_PER_SAMPLE, (default,))


def _opened(contents: bytes, names: tuple[str, ...] = ()) -> Any:
    from PIL import Image
    from PIL import UnidentifiedImageError

    try:
        return Image.open(io.BytesIO(contents), formats=names or formats())
    except UnidentifiedImageError:
        raise ValueError(
            "Pillow does not know it, as RGB of floats or of 32 bits"
        ) from None


def _unsupported_pixels(image: Any) -> Optional[str]:
    """Describes pixels without a known black and white; None for others."""
    tags = getattr(image, "tag_v2", {})
    sample_format = tags.get(_SAMPLE_FORMAT, (1,))[0]
    if image.mode not in ("I", "F") and sample_format in _UNSIGNED:
        return None
    (bits, *_) = tags.get(_BITS_PER_SAMPLE, (32,))
    kind = _SAMPLE_FORMATS.get(sample_format, "integer")
    return (
        f"{image.format} of {bits}-bit {kind} pixels, whose black and white "
        "are not known; scale them and save 8 or 16 bits without sign"
    )
