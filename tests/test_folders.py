"""A user's own images in folders."""

import os
import re
import sys

import numpy as np
import pytest

import conadv_tf as ca
from conadv_tf.data import decoding
from conadv_tf.data.folders import FolderSource
from conadv_tf.data.sharding import Share
from tests import images


def load(path, **kwargs):
    kwargs = {"global_batch_size": 4, "image_size": 16, **kwargs}
    return ca.data.load(f"folder:{path}", **kwargs)


def names(source, part):
    """Paths of a part, without what is before the class."""
    return [
        "/".join(path.numpy().decode().split("/")[-2:])
        for path, _, _ in source.records(part, Share(), None)
    ]


@pytest.mark.parametrize("test", ["test", "validation", "val"])
def test_train_and_test_folders(tmp_path, test):
    images.write_class_folders(tmp_path / "train", {"b": 3, "a": 5})
    images.write_class_folders(tmp_path / test, {"a": 2, "b": 1})
    # Not looked at: other files, hidden folders.
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
    batch, labels = next(iter(dataset.test))
    np.testing.assert_array_equal(labels, [0, 0, 1])
    assert batch.shape == (3, 16, 16, 3) and batch.dtype == np.float32
    assert 0 <= batch.numpy().min() and batch.numpy().max() <= 1


def test_hold_out_depends_on_names_alone(tmp_path):
    images.write_class_folders(tmp_path, {"a": 20, "b": 10})
    source = FolderSource(str(tmp_path), 0.3)
    train, test = (names(source, part) for part in ("train", "test"))
    assert not set(train) & set(test) and len(train + test) == 30
    assert [sum(n.startswith(c) for n in test) for c in "ab"] == [6, 3]
    again = FolderSource(str(tmp_path) + "/", 0.3)
    assert names(again, "test") == test
    # A larger hold-out contains the smaller one.
    assert set(test) < set(names(FolderSource(str(tmp_path), 0.5), "test"))


# WebP was left out without a word, and so were images a folder deeper.
def test_formats_are_read_and_the_rest_is_counted(tmp_path, caplog):
    pixels = images.photo(40, 40)
    for part in ("train", "test"):
        folder = tmp_path / part / "a"
        folder.mkdir(parents=True)
        for suffix, form in (
            ("jfif", "JPEG"),
            ("JPE", "JPEG"),
            ("bmp", "BMP"),
            ("gif", "GIF"),
            ("webp", "WEBP"),
            ("tif", "TIFF"),
        ):
            path = folder / f"x.{suffix}"
            path.write_bytes(images.encode(pixels, form))
    dataset = load(tmp_path, global_batch_size=6)
    (batch, _), *_ = dataset.test
    assert len(batch) == 6 and dataset.faults.found == {}
    expected = np.broadcast_to(batch[0], batch.shape)
    # Lossy, in few colours: still the same picture.
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
        f"Left out of '{tmp_path}': 4 files by their names (2 .heic, 1 no "
        "suffix, 1 .txt), 2 images a folder deeper "
        f"('{train}/a/deep'), 1 images beside the class folders. Images are "
    )


def test_without_pillow_its_formats_are_left_out(tmp_path, monkeypatch, caplog):
    images.write_class_folders(tmp_path, {"a": 2})
    contents = images.encode(images.photo(40, 40), "WEBP")
    (tmp_path / "a" / "x.webp").write_bytes(contents)
    assert FolderSource(str(tmp_path), 0.5).num_examples["train"] == 1
    monkeypatch.setitem(sys.modules, "PIL", None)
    decoding.pillow_formats.cache_clear()
    try:
        source = FolderSource(str(tmp_path), 0.5)
        assert source.num_examples == {"train": 1, "test": 1}
        assert "1 .webp" in caplog.text
        assert decoding.diagnose(contents).startswith("damaged or truncated")
    finally:
        decoding.pillow_formats.cache_clear()


# A bare UnicodeDecodeError.
@pytest.mark.parametrize(
    "name", [b"train/a/caf\xe9.jpg", b"train/caf\xe9", b"caf\xe9"]
)
def test_names_that_are_not_utf8_are_shown(tmp_path, name):
    for part in ("train", "test"):
        images.write_class_folders(tmp_path / part, {"a": 1})
    path = os.path.join(os.fsencode(tmp_path), name)
    os.mkdir(path)
    message = (
        rf"folder '{re.escape(str((tmp_path / os.fsdecode(name)).parent))}'"
    )
    with pytest.raises(ValueError, match=message + r".*b'caf\\xe9"):
        load(tmp_path)
    with pytest.raises(ValueError, match=r"path in UTF-8.*caf\\udce9"):
        load(os.fsdecode(path))


# A quarter of what trains, with and without a test set; that stays unread.
@pytest.mark.parametrize("holdout", [None, 0.2])
def test_validation_takes_the_place_of_the_test_set(tmp_path, holdout):
    for part in ("train", "test") if holdout is None else ("",):
        images.write_class_folders(tmp_path / part, {"a": 20, "b": 10})
    whole = FolderSource(str(tmp_path), holdout)
    source = FolderSource(str(tmp_path), holdout, 0.25)
    train, validation = (names(source, part) for part in ("train", "test"))
    assert sorted(train + validation) == sorted(names(whole, "train"))
    counts = [sum(n.startswith(c) for n in validation) for c in "ab"]
    assert counts == ([5, 2] if holdout is None else [4, 2])
    with pytest.raises(ValueError, match="validation_fraction.*received 0"):
        load(tmp_path, holdout=holdout, validation_fraction=0)


def test_default_size_and_bfloat16(tmp_path):
    images.write_class_folders(tmp_path, {"a": 2, "b": 2})
    dataset = load(
        tmp_path,
        holdout=0.5,
        image_size=None,
        global_batch_size=2,
        dtype="bfloat16",
        views=2,
    )
    (clean, augmented), _ = dataset.train.element_spec
    assert clean.shape == augmented.shape == (2, 224, 224, 3)
    assert clean.dtype == augmented.dtype == "bfloat16"
    for view in next(iter(dataset.train))[0]:
        assert view.dtype == "bfloat16"


# A colour for each class; a mix-up of labels and images would show.
@pytest.mark.parametrize("views", [1, 2])
def test_labels_stay_with_their_images(tmp_path, views):
    for label, grey in enumerate((0, 80, 160, 240)):
        for part, count in (("train", 5), ("test", 2)):
            (tmp_path / part / str(label)).mkdir(parents=True)
            contents = images.encode(np.full((30, 40, 3), grey, "uint8"))
            for number in range(count):
                path = tmp_path / part / str(label) / f"{number}.jpg"
                path.write_bytes(contents)
    dataset = load(tmp_path, views=views)
    batches = [*dataset.train, *dataset.test]
    assert len(batches) == 7
    for image_batch, labels in batches:
        for view in (
            image_batch if isinstance(image_batch, tuple) else [image_batch]
        ):
            np.testing.assert_array_equal(
                np.round(view.numpy()[:, 8, 8, 0] * 255 / 80), labels
            )


def test_views_repeat_with_the_seed_and_the_first_with_their_number(tmp_path):
    images.write_class_folders(tmp_path, {"a": 8, "b": 8})

    def epochs(views, seed):
        dataset = load(tmp_path, holdout=0.25, views=views, seed=seed)
        return [[batch for batch, _ in dataset.train] for _ in range(2)]

    one, pairs, other = epochs(1, 0), epochs(2, 0), epochs(2, 5)
    np.testing.assert_array_equal(pairs, epochs(2, 0))
    for single, pair in zip(one, pairs):
        # Decoded once or in part: the same pixels.
        np.testing.assert_array_equal(single, [clean for clean, _ in pair])
    assert not np.array_equal(pairs[0], pairs[1])
    assert not np.array_equal(pairs[0], other[0])


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="there is no folder"):
        load(tmp_path / "none")
    with pytest.raises(ValueError, match="holdout=0.1; received None"):
        load(tmp_path)
    with pytest.raises(ValueError, match="a folder for each class.*found none"):
        load(tmp_path, holdout=0.5)
    images.write_class_folders(tmp_path, {"a": 1, "b": 2})
    with pytest.raises(ValueError, match=r"in \(0, 1\); received 1.5"):
        load(tmp_path, holdout=1.5)
    with pytest.raises(ValueError, match="leaves no training image.*'a'.*1"):
        load(tmp_path, holdout=0.5)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty'; found none"):
        load(tmp_path, holdout=0.5)


def test_errors_of_two_parts(tmp_path):
    images.write_class_folders(tmp_path / "train", {"a": 4, "b": 4})
    with pytest.raises(ValueError, match="'validation'.*found \\['train'\\]"):
        load(tmp_path)
    images.write_class_folders(tmp_path / "test", {"a": 1, "c": 1})
    with pytest.raises(ValueError, match=r"same classes.*\['b', 'c'\]"):
        load(tmp_path)
    with pytest.raises(ValueError, match="received holdout=0.5"):
        load(tmp_path, holdout=0.5)
