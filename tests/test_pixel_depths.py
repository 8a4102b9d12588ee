"""Images of more than 8 bits per pixel are scaled by their depth or refused."""

import io
import re
import struct

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.data import decoding
from tests import images

RAMP = np.linspace(0, 1, 1200).reshape(30, 40)
LEVELS = np.round(RAMP * 65535).astype("uint16")
BIG_ENDIAN = Image.frombytes("I;16B", (40, 30), LEVELS.astype(">u2").tobytes())


def tiff(pixels, bits, photometric=1, sample_format=1):
    """Bytes of a grey TIFF whose rows have already been packed."""
    tags = {
        256: 40,
        257: 30,
        258: bits,
        259: 1,
        262: photometric,
        273: 8 + 2 + 10 * 12 + 4,
        277: 1,
        278: 30,
        279: pixels.nbytes,
        339: sample_format,
    }
    entries = [struct.pack("<HHII", tag, 4, 1, n) for tag, n in tags.items()]
    header = struct.pack("<4sIH", b"II*\0", 8, len(tags))
    return header + b"".join(entries) + bytes(4) + pixels.tobytes()


def packed(levels):
    """Pairs of 12 bits in three bytes."""
    first, second = levels[:, ::2], levels[:, 1::2]
    bytes_ = [first >> 4, (first & 15) << 4 | second >> 8, second & 255]
    return np.stack(bytes_, -1).astype("uint8")


def saved(picture, form, **options):
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


GREY = {
    "16-bit PNG": images.encode(LEVELS, "PNG"),
    "16-bit TIFF": images.encode(LEVELS, "TIFF"),
    "big-endian TIFF": saved(BIG_ENDIAN, "TIFF"),
    "compressed TIFF": images.encode(LEVELS, "TIFF", compression="tiff_lzw"),
    "TIFF, white is zero": tiff(65535 - LEVELS, 16, photometric=0),
    "12-bit TIFF": tiff(packed(LEVELS >> 4), 12),
    "16-bit JPEG 2000": images.encode(LEVELS, "JPEG2000"),
}


# Pillow alone returns white images, because it clips at 255.
@pytest.mark.parametrize("name", GREY)
def test_grey_levels_are_scaled_by_the_depth_of_the_file(name):
    image = decoding.decode_whole(tf.constant(GREY[name])).numpy()
    expected = np.repeat((LEVELS >> 8)[..., None], 3, -1)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, expected)
    assert decoding.diagnose(GREY[name]) is None


@pytest.mark.parametrize(
    "contents, problem",
    [
        (images.encode(RAMP.astype("float32"), "TIFF"), "32-bit float"),
        (images.encode(LEVELS.astype("int32"), "TIFF"), "32-bit signed"),
        (tiff(LEVELS.astype("uint32"), 32), "32-bit unsigned"),
        (tiff(LEVELS.astype("int16"), 16, sample_format=2), "16-bit signed"),
        (tiff((RAMP * 99).astype("int8"), 8, sample_format=2), "8-bit signed"),
        (
            tiff(RAMP, 64, sample_format=3),
            "Pillow does not know it, as RGB",
        ),
    ],
)
def test_pixels_without_a_known_range_are_refused(contents, problem):
    with pytest.raises(tf.errors.OpError):
        decoding.EncodedImage(tf.constant(contents))
    message = decoding.diagnose(contents)
    assert problem in message
    if "bit" in problem[:7]:
        assert re.match("^TIFF of .*save 8 or 16 bits without sign$", message)


def test_an_image_over_pillows_limit_is_not_called_damaged(monkeypatch):
    contents = images.encode(images.photo(40, 60), "TIFF")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(tf.errors.OpError):
        decoding.EncodedImage(tf.constant(contents))
    message = decoding.diagnose(contents)
    assert "larger than Pillow's limit" in message and "2400 pix" in message
    assert "damaged" not in message


@pytest.mark.parametrize("suffix, form", [("png", "PNG"), ("tif", "TIFF")])
def test_data_of_12_bits_in_16_are_reported(tmp_path, suffix, form):
    folder = tmp_path / "a"
    folder.mkdir()
    for number in range(25):
        path = folder / f"{number:02}.{suffix}"
        path.write_bytes(images.encode(LEVELS >> 4, form))
    (folder / f"25.{suffix}").write_bytes(b"no image")
    holdout = ca.data.Splits(0.1)
    with pytest.warns(UserWarning, match="no pixel over 4095 of 65535 in 9 of"):
        ca.data.FolderSource(str(tmp_path), holdout)
    # One image that is bright enough, or 8 bits: no warning.
    (folder / f"00.{suffix}").write_bytes(images.encode(LEVELS, form))
    ca.data.FolderSource(str(tmp_path), holdout)
    dark = images.encode(np.full([8, 8], 9, "uint8"), form)
    for path in folder.iterdir():
        path.write_bytes(dark)
    ca.data.FolderSource(str(tmp_path), holdout)
