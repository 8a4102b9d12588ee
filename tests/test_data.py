"""Datasets: the embedded digits, and what all of them promise."""

import socket
import time
import types

import numpy as np
import pytest
from sklearn import datasets as sklearn_datasets
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.data import datasets


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


def load(data_dir, **kwargs):
    return ca.data.load("digits", data_dir=data_dir, **kwargs)


def collect(dataset):
    images, labels = zip(*dataset.as_numpy_iterator())
    return np.concatenate(images), np.concatenate(labels)


# Other writers: the last 500 in the order that scikit-learn stores.
def test_digits_are_split_by_writer_in_stored_order(data_dir):
    dataset = load(data_dir)
    stored = sklearn_datasets.load_digits()
    images, labels = collect(dataset.test)
    np.testing.assert_array_equal(labels, stored.target[-500:])
    np.testing.assert_allclose(
        images[..., 0], stored.images[-500:] / 16.0, atol=0.5 / 255
    )
    assert (dataset.num_train, dataset.num_test) == (1297, 500)
    assert dataset.image_shape == (8, 8, 1) and dataset.num_classes == 10
    images, labels = collect(load(data_dir, drop_remainder=False).train)
    np.testing.assert_array_equal(
        np.bincount(labels), np.bincount(stored.target[:-500])
    )
    assert images.dtype == np.float32
    assert images.min() == 0.0 and images.max() == 1.0


def test_epochs_are_shuffled_and_repeat_with_the_seed(data_dir):
    epochs = [
        [collect(dataset.train)[1] for _ in range(2)]
        for dataset in (load(data_dir, seed=s) for s in (1, 1, 2))
    ]
    np.testing.assert_array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[0][0], epochs[0][1])
    assert not np.array_equal(epochs[0][0], epochs[2][0])


@pytest.mark.parametrize("drop_remainder, steps", [(True, 10), (False, 11)])
def test_batches_of_an_epoch(data_dir, drop_remainder, steps):
    dataset = load(
        data_dir, global_batch_size=128, drop_remainder=drop_remainder
    )
    sizes = [len(labels) for _, labels in dataset.train.as_numpy_iterator()]
    assert len(sizes) == dataset.steps_per_epoch == steps
    static = dataset.train.element_spec[0].shape[0]
    assert static == (128 if drop_remainder else None)


def test_no_network_is_touched(tmp_path, monkeypatch):
    def refuse(*arguments, **kwargs):
        raise AssertionError(f"connection to {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    load(str(tmp_path))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"name": "mnits"}, "received 'mnits'"),
        ({"name": "digits", "global_batch_size": 1298}, "1 to 1297.*1298"),
        ({"name": "digits", "global_batch_size": 0}, "received 0"),
    ],
)
def test_errors(data_dir, arguments, message):
    with pytest.raises(ValueError, match=message):
        ca.data.load(data_dir=data_dir, **arguments)


# No address answers: tfds alone would retry for minutes.
def test_data_that_cannot_be_downloaded(tmp_path, monkeypatch):
    def refuse(*arguments, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    started = time.monotonic()
    with pytest.raises(
        ValueError, match=r"'cifar10' is not prepared.*download_and_prepare\(\)"
    ):
        ca.data.load("cifar10", data_dir=str(tmp_path))
    assert time.monotonic() - started < 10


class FakeCifar:
    """What `load` needs of a tfds builder, with 40 made images."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.images = rng.integers(0, 256, (40, 32, 32, 3), "uint8")
        split = types.SimpleNamespace(num_examples=40)
        self.info = types.SimpleNamespace(
            splits={"train": split, "test": split},
            features={
                "image": types.SimpleNamespace(shape=(32, 32, 3)),
                "label": types.SimpleNamespace(num_classes=10),
            },
        )

    def as_dataset(self, **kwargs):
        labels = np.arange(40, dtype=np.int64) % 10
        return tf.data.Dataset.from_tensor_slices((self.images, labels))


# cifar10 cannot be downloaded here, so its pipeline runs on made images.
def test_augmentation_repeats_with_the_seed(monkeypatch):
    monkeypatch.setattr(
        datasets, "_prepared_builder", lambda *args: FakeCifar()
    )
    epochs = []
    for seed in (0, 0, 1):
        dataset = ca.data.load("cifar10", 8, seed=seed)
        epochs.append([collect(dataset.train)[0] for _ in range(2)])
    assert epochs[0][0].shape == (40, 32, 32, 3)
    np.testing.assert_array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[0][0], epochs[0][1])
    assert not np.array_equal(epochs[0][0], epochs[2][0])
    images, _ = collect(dataset.test)  # As they are, in order.
    np.testing.assert_allclose(
        images, FakeCifar().images / np.float32(255), atol=1e-7
    )


def test_crop_and_mirror_is_a_window_of_the_padded_image():
    image = np.random.default_rng(0).integers(1, 256, (6, 6, 3), "uint8")
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    windows = [
        window[:, ::step]
        for row in range(5)
        for column in range(5)
        for window in [padded[row : row + 6, column : column + 6]]
        for step in (1, -1)
    ]
    seen = set()
    for key in range(60):
        crop = datasets._crop_and_mirror(
            tf.constant(image), tf.constant([key, 1], tf.int64), 2, True
        )
        seen.add(
            next(
                index
                for index, window in enumerate(windows)
                if np.array_equal(window, crop)
            )
        )
    assert len(seen) > 20
