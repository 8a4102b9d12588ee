"""Bad records are found, named, and skipped only if asked."""

import functools
import re

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.data import decoding
from conadv_tf.data import views
from conadv_tf.data.decoding import EncodedImage
from tests import images
from tests.images import collect
from tests.marks import slow

pipeline_error = functools.partial(
    pytest.raises, tf.errors.InvalidArgumentError
)

PHOTO = images.photo(60, 80)
JPEG = images.encode(PHOTO)
PNG = images.encode(PHOTO, "PNG")
BMP = images.encode(PHOTO, "BMP")
WEBP = images.encode(PHOTO, "WEBP")


def at_marker(marker, offset, byte):
    """The JPEG with one byte changed at an offset from a marker."""
    contents = bytearray(JPEG)
    contents[contents.index(marker) + offset] = byte
    return bytes(contents)


ROTATED = Image.Exif()
ROTATED[0x0112] = 6
SIZE, TABLE, SCAN = b"\xff\xc0", b"\xff\xc4", b"\xff\xda"
BAD = {
    "half a JPEG": (JPEG[: len(JPEG) // 2], "truncated JPEG"),
    "JPEG without its last byte": (JPEG[:-1], "truncated JPEG"),
    "JPEG filled up with zeros": (JPEG[:-300] + bytes(300), "truncated JPEG"),
    "only the header": (JPEG[:100], "truncated JPEG"),
    "half a PNG": (PNG[: len(PNG) // 2], "truncated PNG"),
    "changed PNG": (PNG[:300] + b"?" + PNG[301:], "damaged or truncated PNG"),
    "CMYK": (images.encode(PHOTO, mode="CMYK"), "CMYK JPEG"),
    # Damage between an intact start and an intact end.
    "12 bits a sample": (at_marker(SIZE, 4, 12), "damaged or truncated JPEG"),
    "lossless JPEG": (at_marker(SIZE, 1, 0xC3), "damaged or truncated JPEG"),
    "bad table": (at_marker(TABLE, 4, 9), "damaged or truncated JPEG"),
    "no such component": (at_marker(SCAN, 5, 99), "damaged or truncated JPEG"),
    "empty": (b"", "empty file"),
    "one byte": (b"\xff", "neither JPEG nor PNG"),
    "text": (b"<html>not found</html>", "neither JPEG nor PNG.*<html>n"),
    "half a BMP": (BMP[: len(BMP) // 2], "damaged or truncated BMP"),
    "half a WebP": (WEBP[: len(WEBP) // 2], "damaged or truncated WebP"),
    "ICO": (images.encode(PHOTO, "ICO"), "neither JPEG nor PNG"),
}
FINE = {
    "JPEG": JPEG,
    "JPEG with padding": JPEG + bytes(7),
    "PNG": PNG,
    "grey JPEG": images.encode(PHOTO, mode="L"),
    "grey PNG": images.encode(PHOTO, "PNG", mode="L"),
    "PNG with transparency": images.encode(PHOTO, "PNG", mode="RGBA"),
    # The orientation is ignored, as docs/data.md says.
    "JPEG with an orientation": images.encode(PHOTO, exif=ROTATED),
    "WebP with an orientation": images.encode(
        PHOTO, "WEBP", exif=ROTATED, quality=80
    ),
    "progressive JPEG": images.encode(PHOTO, progressive=True),
    "BMP": BMP,
    "BMP of 1 bit": images.encode(PHOTO, "BMP", mode="1"),
    "BMP with a palette": images.encode(PHOTO, "BMP", mode="P"),
    "GIF": images.encode(PHOTO, "GIF"),
    "PNG of 1 bit": images.encode(PHOTO, "PNG", mode="1"),
    "PNG with a transparent colour": images.encode(
        PHOTO, "PNG", mode="P", transparency=3
    ),
    "WebP": WEBP,
    "TIFF": images.encode(PHOTO, "TIFF"),
    "grey TIFF": images.encode(PHOTO, "TIFF", mode="L"),
    "CMYK TIFF": images.encode(PHOTO, "TIFF", mode="CMYK"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_images_are_found_even_if_the_crop_is_intact(name):
    contents, problem = BAD[name]

    @tf.function
    def crop(contents):
        encoded = EncodedImage(contents)
        return encoded.crops([views.central_window(encoded.shape, 16)])

    with pytest.raises(tf.errors.OpError):
        crop(tf.constant(contents))
    assert re.search(problem, decoding.diagnose(contents), re.DOTALL)


# This is why truncated files need a check: TensorFlow does not notice.
def test_a_crop_of_a_truncated_jpeg_decodes():
    contents, _ = BAD["half a JPEG"]
    crop = tf.io.decode_and_crop_jpeg(
        contents, [0, 0, 8, 80], channels=3, dct_method="INTEGER_ACCURATE"
    )
    np.testing.assert_array_equal(crop, images.decode(JPEG)[:8])


@pytest.mark.parametrize("name", FINE)
def test_good_images_are_decoded_like_pillow(name):
    encoded = EncodedImage(tf.constant(FINE[name]))
    expected = images.decode(FINE[name])
    np.testing.assert_array_equal(encoded.shape, expected.shape)
    (crop,) = encoded.crops([tf.constant([0, 0, 60, 80])])
    np.testing.assert_array_equal(crop, expected)
    assert decoding.diagnose(FINE[name]) is None


# This is why CMYK is an error: without Adobe's marker colours are inverted.
def test_decoders_disagree_about_cmyk():
    contents, _ = BAD["CMYK"]
    marker = contents.index(b"\xff\xee")
    length = int.from_bytes(contents[marker + 2 : marker + 4], "big")
    contents = contents[:marker] + contents[marker + 2 + length :]
    difference = tf.io.decode_jpeg(contents, channels=3).numpy().astype(
        int
    ) - images.decode(contents)
    assert np.abs(difference).max() > 100
    with pipeline_error(match="CMYK"):
        EncodedImage(tf.constant(contents))


@pytest.fixture
def folder(tmp_path):
    """24 good training images and 6 good test images."""
    images.write_class_folders(tmp_path / "train", {"cat": 12, "dog": 12})
    images.write_class_folders(tmp_path / "test", {"cat": 3, "dog": 3})
    return tmp_path


def load(folder, **kwargs):
    return ca.data.load(f"folder:{folder}", 4, image_size=16, **kwargs)


def test_a_png_may_be_named_jpg(folder):
    pixels = images.noise(48, 48)
    contents = images.encode(pixels, "PNG")
    (folder / "test" / "cat" / "00.jpg").write_bytes(contents)
    dataset = load(folder)
    batch, _ = next(iter(dataset.test))
    np.testing.assert_allclose(
        batch[0], pixels[16:32, 16:32] / 255.0, atol=1e-6
    )
    assert dataset.bad_records.found == {}


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_error_names_file_problem_and_remedy(folder, split):
    path = folder / split / "dog" / "01.jpg"
    path.write_bytes(BAD["half a JPEG"][0])
    dataset = load(folder, views=2)
    message = (
        rf"bad record '{path}': truncated JPEG.*max_bad_records=0\. Repair"
    )
    for _ in range(2):  # The second time it must not be skipped.
        with pipeline_error(match=message):
            list(getattr(dataset, split))
    assert re.search(message, dataset.bad_records.error)


# A strategy of two replicas rewrites the pipeline.
@pytest.mark.parametrize("name", ["one_device", slow("mirrored")])
def test_fit_stops_with_the_error(folder, name):
    dataset = load(folder)
    with ca.distribution.strategy(name).scope():
        model = tf.keras.Sequential(
            [tf.keras.layers.Flatten(), tf.keras.layers.Dense(2)]
        )
        model.compile(loss="mse")
    model.fit(dataset.train, verbose=0)
    (folder / "train" / "cat" / "03.jpg").write_bytes(b"")
    with pipeline_error(match="03.jpg.*empty"):
        model.fit(dataset.train, verbose=0)
    assert "cat/03.jpg': empty file" in dataset.bad_records.error


def test_skipped_records_are_counted_once_and_replaced(folder, caplog):
    bad = {}
    for number, name in enumerate(("half a JPEG", "CMYK", "empty")):
        path = folder / "train" / "dog" / f"{number:02}.jpg"
        path.write_bytes(BAD[name][0])
        bad[str(path)] = BAD[name][1]
    dataset = load(folder, max_bad_records=3)
    for _ in range(3):
        batches = list(dataset.train)
        # Other images replace the bad ones, so that no step is missing.
        assert [len(labels) for _, labels in batches] == [4] * 6
    assert (
        len(dataset.bad_records.found) == 3
        and dataset.bad_records.error is None
    )
    for name, problem in bad.items():
        assert problem in dataset.bad_records.found[name]
        assert caplog.text.count(name) == 1
    dataset = load(folder, max_bad_records=2)
    with pipeline_error(match="number 3.*max_bad_records=2"):
        list(dataset.train)


def test_skipped_test_images_are_left_out(folder):
    (folder / "test" / "cat" / "01.jpg").write_bytes(BAD["text"][0])
    dataset = load(folder, max_bad_records=1)
    _, labels = collect(dataset.test)
    np.testing.assert_array_equal(labels, [0, 0, 1, 1, 1])


def test_errors_after_the_decoder_are_not_blamed_on_the_record(folder):
    def augment(image, seed):
        bright = tf.reduce_max(image) >= 0
        tf.debugging.Assert(tf.logical_not(bright), ["too bright"])
        return image

    dataset = load(folder, augment=augment, max_bad_records=99)
    message = r"image of record '.*jpg' is valid.*fails on it: .*too bright"
    with pipeline_error(match=re.compile(message, re.DOTALL)):
        list(dataset.train)
    assert dataset.bad_records.found == {}


def test_files_that_cannot_be_read_are_bad_records(folder):
    train = folder / "train" / "cat"
    dataset = load(folder, max_bad_records=3)
    for name in ("00.jpg", "01.jpg", "02.jpg"):
        (train / name).unlink()  # After it was listed.
    (train / "01.jpg").symlink_to("nowhere.jpg")
    (train / "02.jpg").mkdir()
    for _ in range(2):
        assert [len(labels) for _, labels in dataset.train] == [4] * 6
    reasons = {"00": "No such file", "01": "No such file", "02": "Is a direc"}
    for name, problem in dataset.bad_records.found.items():
        stem = name.rsplit("/")[-1][:2]
        assert problem.startswith(f"cannot be read ({reasons.pop(stem)}")
    assert not reasons
    with pipeline_error(match=r"0[012].jpg': cannot be read"):
        list(load(folder, max_bad_records=0).train)


@pytest.mark.parametrize("image_size", [None, slow(16)])
def test_labels_outside_the_classes(tmp_path, image_size):
    def made(**kwargs):
        return ca.data.load(
            "conadv_made_images/bad_label",
            4,
            data_dir=str(tmp_path),
            image_size=image_size,
            **kwargs,
        )

    message = "bad record 'conadv_made_images-.*label -1 outside 0 to 4"
    for split in ("train", "test"):
        with pipeline_error(match=message):
            list(getattr(made(), split))
    dataset = made(max_bad_records=2)
    _, labels = collect(dataset.test)
    np.testing.assert_array_equal(np.sort(labels), [0, 0, 1, 1, 3, 4])
    assert all(labels.numpy().min() >= 0 for _, labels in dataset.train)
    assert len(dataset.bad_records.found) == 2


def test_labels_are_class_numbers():
    bad_records = ca.data.BadRecords(num_classes=5)
    valid = [bad_records.is_valid_label(tf.constant(n)) for n in (-1, 0, 4, 5)]
    np.testing.assert_array_equal(valid, [False, True, True, False])


def test_a_negative_limit_is_an_error(folder):
    with pytest.raises(ValueError, match="max_bad_records >= 0; received -1"):
        load(folder, max_bad_records=-1)
