"""Image files in folders as a dataset."""

import os
import re
import sys

import numpy as np
import pytest

import conadv_tf as ca
from conadv_tf.data import decoding
from conadv_tf.data import pillow_images
from tests import images
from tests.images import collect


def load(path, **kwargs):
    kwargs = {"global_batch_size": 4, "image_size": 16, **kwargs}
    return ca.data.load(f"folder:{path}", **kwargs)


def source(path, *splits):
    return ca.data.FolderSource(str(path), ca.data.Splits(*splits))


def names(source, split):
    """CLASS/FILE of each record."""
    return [
        "/".join(path.numpy().decode().split("/")[-2:])
        for path, _, _ in source.records(split, ca.data.Shard(), None)
    ]


def counts(found):
    """How many names belong to the classes "a" and "b"."""
    return [sum(name.startswith(label) for name in found) for label in "ab"]


@pytest.mark.parametrize("test", ["test", "validation", "val"])
def test_train_and_test_folders(tmp_path, test):
    images.write_class_folders(tmp_path / "train", {"b": 3, "a": 5})
    images.write_class_folders(tmp_path / test, {"a": 2, "b": 1})
    # Other files and hidden folders are ignored.
    (tmp_path / "train" / "README.txt").write_text("mine")
    (tmp_path / "train" / "a" / "Thumbs.db").write_bytes(b"")
    (tmp_path / "train" / ".cache").mkdir()
    upper = images.encode(images.photo(50, 40))
    (tmp_path / "train" / "a" / "UPPER.JPEG").write_bytes(upper)
    dataset = load(tmp_path)
    assert (dataset.num_train, dataset.num_test) == (9, 3)
    assert dataset.class_names == ("a", "b") and dataset.num_classes == 2
    assert dataset.image_shape == (16, 16, 3)
    assert dataset.steps_per_epoch == 2
    batch, labels = collect(dataset.test)
    np.testing.assert_array_equal(labels, [0, 0, 1])
    assert batch.shape == (3, 16, 16, 3) and batch.dtype == np.float32
    assert 0 <= batch.min() and batch.max() <= 1


def test_a_holdout_depends_on_names_alone(tmp_path):
    images.write_class_folders(tmp_path, {"a": 20, "b": 10})
    first = source(tmp_path, 0.3)
    train, test = (names(first, split) for split in ("train", "test"))
    assert not set(train) & set(test) and len(train + test) == 30
    assert counts(test) == [6, 3]
    assert names(source(f"{tmp_path}/", 0.3), "test") == test
    # A larger holdout contains a smaller one.
    assert set(test) < set(names(source(tmp_path, 0.5), "test"))


# Skipped formats and images one folder deeper must not go unnoticed.
def test_formats_are_read_and_other_files_are_counted(tmp_path, caplog):
    pixels = images.photo(40, 40)
    forms = {
        "jfif": "JPEG",
        "JPE": "JPEG",
        "bmp": "BMP",
        "gif": "GIF",
        "webp": "WEBP",
        "tif": "TIFF",
    }
    for split in ("train", "test"):
        folder = tmp_path / split / "a"
        folder.mkdir(parents=True)
        for suffix, form in forms.items():
            path = folder / f"x.{suffix}"
            path.write_bytes(images.encode(pixels, form))
    dataset = load(tmp_path, global_batch_size=6)
    batch, _ = collect(dataset.test)
    assert len(batch) == 6 and dataset.bad_records.found == {}
    expected = np.broadcast_to(batch[0], batch.shape)
    # Some formats are lossy or have few colours.
    np.testing.assert_allclose(batch, expected, atol=0.2)
    assert caplog.text == ""

    train = tmp_path / "train"
    for name in ("x.heic", "y.HEIC", "list.txt", "Makefile", "Thumbs.db", ".x"):
        (train / "a" / name).write_bytes(b"")
    (train / "a" / "deep").mkdir()
    (train / "a" / "empty").mkdir()
    for name in ("a/deep/1.jpg", "a/deep/2.png", "a/deep/3.txt", "beside.jpg"):
        (train / name).write_bytes(b"")
    dataset = load(tmp_path, global_batch_size=6)
    assert dataset.num_train == 6
    (record,) = caplog.records
    assert record.getMessage().startswith(
        f"Skipped in '{tmp_path}': 4 files with other suffixes (2 .heic, 1 no "
        "suffix, 1 .txt), 2 images one folder deeper "
        f"('{train}/a/deep'), 1 images beside the class folders. Images are "
    )


def test_without_pillow_its_formats_are_skipped(tmp_path, monkeypatch, caplog):
    images.write_class_folders(tmp_path, {"a": 2})
    contents = images.encode(images.photo(40, 40), "WEBP")
    (tmp_path / "a" / "x.webp").write_bytes(contents)
    assert source(tmp_path, 0.5).num_examples["train"] == 1
    monkeypatch.setitem(sys.modules, "PIL", None)
    pillow_images.formats.cache_clear()
    try:
        assert source(tmp_path, 0.5).num_examples == {"train": 1, "test": 1}
        assert "1 .webp" in caplog.text
        assert decoding.diagnose(contents).startswith("damaged or truncated")
    finally:
        pillow_images.formats.cache_clear()


# TensorFlow raises a UnicodeDecodeError that does not name the file.
@pytest.mark.parametrize(
    "name", [b"train/a/caf\xe9.jpg", b"train/caf\xe9", b"caf\xe9"]
)
def test_names_that_are_not_utf8_are_in_the_error(tmp_path, name):
    for split in ("train", "test"):
        images.write_class_folders(tmp_path / split, {"a": 1})
    path = os.path.join(os.fsencode(tmp_path), name)
    os.mkdir(path)
    parent = re.escape(str((tmp_path / os.fsdecode(name)).parent))
    with pytest.raises(ValueError, match=rf"folder '{parent}'.*b'caf\\xe9"):
        load(tmp_path)
    with pytest.raises(ValueError, match=r"path in UTF-8.*caf\\udce9"):
        load(os.fsdecode(path))


# A folder that was packed on macOS has another form of the same name.
def test_unicode_forms_of_a_class_name_are_distinguished(tmp_path):
    composed, decomposed = "caf\xe9", "cafe\u0301"
    images.write_class_folders(tmp_path / "train", {composed: 1, "b": 1})
    images.write_class_folders(tmp_path / "test", {decomposed: 1, "b": 1})
    forms = r"caf\\xe9' and 'cafe\\u0301'|cafe\\u0301' and 'caf\\xe9'"
    with pytest.raises(ValueError, match=f"in only one.*({forms}) are two Uni"):
        source(tmp_path)
    images.write_class_folders(tmp_path / "train", {decomposed: 1})
    images.write_class_folders(tmp_path / "test", {composed: 1})
    with pytest.raises(
        ValueError, match=f"distinct classes.*({forms}) are two"
    ):
        source(tmp_path)


# A quarter of the training images, with and without a test set.
@pytest.mark.parametrize("holdout", [None, 0.2])
def test_validation_images_replace_the_test_set(tmp_path, holdout):
    for split in ("train", "test") if holdout is None else ("",):
        images.write_class_folders(tmp_path / split, {"a": 20, "b": 10})
    quarter = source(tmp_path, holdout, 0.25)
    train, validation = (names(quarter, split) for split in ("train", "test"))
    whole = names(source(tmp_path, holdout), "train")
    assert sorted(train + validation) == sorted(whole)
    assert counts(validation) == ([5, 2] if holdout is None else [4, 2])
    with pytest.raises(ValueError, match="validation_fraction.*received 0"):
        load(tmp_path, holdout=holdout, validation_fraction=0)


def test_default_size_and_bfloat16(tmp_path):
    images.write_class_folders(tmp_path, {"a": 2, "b": 2})
    options = {"image_size": None, "global_batch_size": 2, "views": 2}
    dataset = load(tmp_path, holdout=0.5, dtype="bfloat16", **options)
    (clean, augmented), _ = dataset.train.element_spec
    assert clean.shape == augmented.shape == (2, 224, 224, 3)
    assert clean.dtype == augmented.dtype == "bfloat16"
    for view in next(iter(dataset.train))[0]:
        assert view.dtype == "bfloat16"


# Each class has one grey level, so that confused labels would be noticed.
@pytest.mark.parametrize("views", [1, 2])
def test_labels_stay_with_their_images(tmp_path, views):
    for label, grey in enumerate((0, 80, 160, 240)):
        for split, count in (("train", 5), ("test", 2)):
            (tmp_path / split / str(label)).mkdir(parents=True)
            contents = images.encode(np.full((30, 40, 3), grey, "uint8"))
            for number in range(count):
                path = tmp_path / split / str(label) / f"{number}.jpg"
                path.write_bytes(contents)
    dataset = load(tmp_path, views=views)
    batches = [*dataset.train, *dataset.test]
    assert len(batches) == 7
    for batch, labels in batches:
        for view in batch if isinstance(batch, tuple) else [batch]:
            np.testing.assert_array_equal(
                np.round(view.numpy()[:, 8, 8, 0] * 255 / 80), labels
            )


@pytest.mark.slow
def test_views_repeat_with_the_seed_and_the_first_does_not_depend_on_a_second(
    tmp_path,
):
    images.write_class_folders(tmp_path, {"a": 8, "b": 8})
    images.assert_epochs_repeat_with_the_seed(
        lambda seed: load(tmp_path, holdout=0.25, views=2, seed=seed)
    )
    single, pairs = (
        load(tmp_path, holdout=0.25, views=n).train for n in (1, 2)
    )
    for _ in range(2):
        # Decoding more of the file for a second crop changes no pixel.
        for (image, _), ((clean, _), _) in zip(single, pairs, strict=True):
            np.testing.assert_array_equal(image, clean)


def test_invalid_layouts(tmp_path):
    def check(message, **options):
        with pytest.raises(ValueError, match=message):
            load(tmp_path, **options)

    with pytest.raises(ValueError, match="there is no folder"):
        load(tmp_path / "none")
    check("--set holdout=0.1")
    check("a folder for each class.*found none", holdout=0.5)
    images.write_class_folders(tmp_path, {"a": 1, "b": 2})
    check(r"in \(0, 1\); received 1.5", holdout=1.5)
    check("leaves no training image.*'a'.*1", holdout=0.5)
    (tmp_path / "empty").mkdir()
    check("empty'; found none", holdout=0.5)
    images.write_class_folders(tmp_path / "train", {"a": 4, "b": 4})
    check(r"'validation'.*found \['a', 'b', 'empty', 'train'\]")
    images.write_class_folders(tmp_path / "test", {"a": 1, "c": 1})
    check(r"same classes.*\['b', 'c'\]")
    check("received holdout=0.5", holdout=0.5)
