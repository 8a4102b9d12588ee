"""Arrays as a dataset: .npz archives and the pairs of `load_data`."""

import io

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import images
from tests.images import collect


def arrays(num_train=23, num_test=7, size=(8, 8), channels=None, column=False):
    """Random uint8 arrays of five classes; image i has label i modulo 5."""
    shape = size if channels is None else (*size, channels)
    found = {}
    for seed, (split, count) in enumerate(
        {"train": num_train, "test": num_test}.items()
    ):
        rng = np.random.default_rng(seed)
        found[f"x_{split}"] = rng.integers(0, 256, (count, *shape), np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 5
        found[f"y_{split}"] = labels[:, None] if column else labels
    return found


def saved(tmp_path, found):
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, **found)
    return f"npz:{path}"


def pairs(found):
    """The arrays in the form of `tf.keras.datasets.mnist.load_data()`."""
    return tuple((found[f"x_{s}"], found[f"y_{s}"]) for s in ("train", "test"))


# The test split keeps its order, the training split is shuffled.
@pytest.mark.parametrize(
    "channels, column, floating",
    [(None, False, False), (1, True, True), (3, True, False)],
)
def test_an_archive(tmp_path, channels, column, floating):
    found = arrays(channels=channels, column=column)
    expected = {
        name: found[name].reshape(-1, 8, 8, channels or 1) / np.float32(255)
        for name in ("x_train", "x_test")
    }
    if floating:
        for name in expected:
            found[name] = found[name] / 255.0
    dataset = ca.data.load(saved(tmp_path, found), 4, padding=0)
    assert (dataset.num_train, dataset.num_test) == (23, 7)
    assert dataset.image_shape == (8, 8, channels or 1)
    assert dataset.class_names == ("0", "1", "2", "3", "4")
    assert dataset.steps_per_epoch == 5
    seen, labels = collect(dataset.test)
    np.testing.assert_allclose(seen, expected["x_test"], atol=1e-7)
    np.testing.assert_array_equal(labels, np.arange(7) % 5)
    assert seen.dtype == np.float32
    seen, labels = collect(dataset.train)
    flat = expected["x_train"].reshape(23, -1)
    for image, label in zip(seen.reshape(20, -1), labels):
        (number,) = np.flatnonzero(np.abs(flat - image).max(-1) < 1e-6)
        assert number % 5 == label


# With the low limit images are shuffled before they are read.
@pytest.mark.parametrize("limit", [2**30, 100])
def test_pairs_equal_an_archive(tmp_path, monkeypatch, limit):
    monkeypatch.setattr("conadv_tf.data.arrays._IN_MEMORY_BYTES", limit)
    found = arrays()
    first, second = (
        ca.data.load(name, 8, seed=3)
        for name in (pairs(found), saved(tmp_path, found))
    )
    for split in ("train", "test"):
        for left, right in zip(
            collect(getattr(first, split)), collect(getattr(second, split))
        ):
            np.testing.assert_array_equal(left, right)


# By default small images are shifted by an eighth of their height. `augment`
# receives grey levels, even of floating-point images.
@pytest.mark.parametrize("floating", [False, True])
def test_views(floating):
    found = arrays(channels=3)
    if floating:
        for name in ("x_train", "x_test"):
            found[name] = found[name] / 255.0
    seen_dtypes = []

    def invert(image, seed):
        del seed
        seen_dtypes.append(image.dtype)
        return 255 - image

    options = {"global_batch_size": 23, "views": 2, "augment": invert}
    (clean, augmented), _ = next(
        iter(ca.data.load(pairs(found), padding=0, **options).train)
    )
    assert set(seen_dtypes) == {tf.uint8}
    np.testing.assert_allclose(clean, 1 - augmented, atol=1e-6)
    (shifted, _), _ = next(iter(ca.data.load(pairs(found), **options).train))
    # No row of random pixels is all 0, so such rows come from the padding.
    rows = (shifted.numpy() == 0).all(axis=(2, 3)).sum(-1)
    assert rows.max() == 1 and (rows == 0).any()
    assert not (clean.numpy() == 0).all(axis=(2, 3)).any()


# At half the size each pixel is the mean of four. Enlarged images stay in
# [0, 1].
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_whole_images_are_resized(dtype):
    found = arrays(size=(8, 8))
    seen, _ = collect(
        ca.data.load(pairs(found), 4, image_size=4, dtype=dtype).test
    )
    means = found["x_test"].reshape(-1, 4, 2, 4, 2).mean((2, 4)) / 255
    tolerance = 1e-6 if dtype == "float32" else 1 / 256
    np.testing.assert_allclose(
        seen[..., 0].astype(np.float32), means, atol=tolerance
    )
    dataset = ca.data.load(pairs(found), 4, image_size=12, dtype=dtype)
    assert dataset.image_shape == (12, 12, 1)
    for split in (dataset.train, dataset.test):
        seen, _ = collect(split)
        assert seen.dtype == dtype and seen.shape[1:] == (12, 12, 1)
        assert 0 <= seen.min() and seen.max() <= 1


def test_the_last_of_each_class_are_held_out_of_a_sorted_dataset():
    found = arrays(num_train=20)
    order = np.argsort(found["y_train"], kind="stable")
    found["x_train"] = found["x_train"][order]
    found["y_train"] = found["y_train"][order]
    quarter = ca.data.Splits(validation_fraction=0.25)
    source = ca.data.ArraySource("mine", found, quarter)

    def numbers(split):
        records = source.records(split, ca.data.Shard(), None)
        return [name.numpy().decode() for _, _, name in records]

    assert numbers("test") == [f"x_train[{n}]" for n in (3, 7, 11, 15, 19)]
    assert len(set(numbers("train") + numbers("test"))) == 20
    del found["x_test"], found["y_test"]
    both = ca.data.Splits(holdout=0.2, validation_fraction=0.25)
    source = ca.data.ArraySource("mine", found, both)
    assert source.num_examples == {"train": 12, "test": 4}
    with pytest.raises(ValueError, match="own test set.*holdout=0.2"):
        ca.data.ArraySource("mine", arrays(), both)


def test_a_negative_label_is_a_bad_record():
    found = arrays()
    found["y_train"] = found["y_train"].astype(int)
    found["y_train"][7] = -1
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"x_train\[7\]"):
        collect(ca.data.load(pairs(found), 4).train)
    dataset = ca.data.load(pairs(found), 4, max_bad_records=1)
    collect(dataset.train)
    assert list(dataset.bad_records.found) == ["x_train[7]"]


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"x_test": None, "y_test": None},
            r"no x_test and no y_test, only x_train \(uint8 \[23, 8, 8\]\), "
            r"y_train \(uint8 \[23\]\)",
        ),
        ({"x_train": lambda x: x[:, 0]}, r"x_train .*channels last.*\[23, 8\]"),
        ({"x_train": lambda x: x[..., None, None]}, r"1 or 3.*23, 8, 8, 1, 1"),
        ({"x_test": lambda x: x[:0]}, "x_test of shape"),
        ({"x_test": lambda x: x[:, :4]}, r"one shape.*\[8, 8, 1\].*\[4, 8, 1"),
        ({"x_train": lambda x: x / 1.0}, r"\[0, 1\]; received float64 from 0"),
        ({"x_train": lambda x: x / 127 - 1}, "float64 from -1 to"),
        (
            {"x_train": lambda x: x.astype(int)},
            "received int64.*Divide by 255, or",
        ),
        ({"x_test": lambda x: x * np.nan}, "received float64 from nan"),
        ({"x_train": lambda x: x * np.uint16(257)}, "65535. Scale.*would wrap"),
        ({"x_train": lambda x: x.view("int8")}, "int8 from -128.* Scale it to"),
        ({"x_train": lambda x: x > 9}, "received bool from 0 to 1. Scale it"),
        ({"x_train": lambda x: x.astype(str)}, "received dtype <U"),
        ({"x_train": lambda x: x // 128}, "uint8 from 0 to 1.*Multiply by 255"),
        ({"y_train": lambda y: y[1:]}, r"each image, of shape \[23\]"),
        ({"y_train": lambda y: np.eye(5)[y]}, r"23, 5\].*argmax"),
        ({"y_train": lambda y: y / 1.0}, "of integers.*float64"),
        ({"y_train": lambda y: y + 1}, r"without gaps.*from 1 to 5.*of \[0\]"),
    ],
)
def test_invalid_arrays(tmp_path, changes, message):
    found = arrays()
    for name, change in changes.items():
        array = found.pop(name)
        if change is not None:
            found[name] = change(array)
    with pytest.raises(ValueError, match=message):
        ca.data.load(saved(tmp_path, found), 4)


# Attacks would overwhelm such images without a word.
@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda x: x // 16,
            r"to 255 in x_train; .*uint8 from 0 to 15.*use 5.9%",
        ),
        (lambda x: x / 255 / 255, r"from 0 to 0.00392157.*0.39%.*255 twice"),
    ],
)
def test_arrays_that_use_little_of_the_range_are_reported(change, message):
    found = arrays()
    found["x_train"] = change(found["x_train"])
    with pytest.warns(UserWarning, match=message):
        ca.data.ArraySource("mine", found)
    found["x_train"] = np.full_like(arrays()["x_train"], 9)  # Constant images.
    ca.data.ArraySource("mine", found)


def npy():
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


def pickled():
    file = io.BytesIO()
    np.savez(file, x_train=np.array([None]))
    return file.getvalue()


@pytest.mark.parametrize(
    "contents",
    [
        b"",
        b"PK\x03\x04 and no more",
        images.encode(images.photo(8, 8)),
        npy(),
        pickled(),
    ],
)
def test_files_that_are_no_archives(tmp_path, contents):
    path = tmp_path / "one.npz"
    path.write_bytes(contents)
    with pytest.raises(ValueError, match="reading it failed"):
        ca.data.load(f"npz:{path}")


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("npz:none.npz", {}, "there is no file.*np.savez"),
        ("npz:none.npz", {"data_dir": "runs"}, "npz:.*received 'runs'"),
        ((np.zeros(3), np.zeros(3)), {}, "name of a dataset, or arrays"),
    ],
)
def test_invalid_arguments(name, options, message):
    with pytest.raises(ValueError, match=message):
        ca.data.load(name, **options)
