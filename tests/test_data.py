"""Datasets: the embedded digits, tensorflow-datasets, and their errors."""

import re
import socket
import time

import numpy as np
import pytest
from sklearn import datasets as sklearn_datasets

import conadv_tf as ca
from conadv_tf.data import digits
from conadv_tf.data import tfds_builder
from conadv_tf.data import tfds_source
from tests import images
from tests.images import collect
from tests.images import ConadvMadeImages
from tests.marks import slow


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("tfds"))


def load(data_dir, **kwargs):
    return ca.data.load("digits", data_dir=data_dir, **kwargs)


def made(data_dir, config="small", **kwargs):
    return ca.data.load(
        f"conadv_made_images/{config}", 4, data_dir=data_dir, **kwargs
    )


@pytest.fixture
def fake_cifar(data_dir, monkeypatch):
    """Synthetic images in place of cifar10, which cannot be downloaded here."""

    def prepared_builder(name, folder):
        name = "conadv_made_images/small" if name == "cifar10" else name
        return tfds_builder.prepared_builder(name, data_dir)

    monkeypatch.setattr(tfds_source, "prepared_builder", prepared_builder)


# The last 500 images in scikit-learn's order are by other writers.
def test_digits_are_split_by_writer_in_stored_order(data_dir):
    dataset = load(data_dir)
    stored = sklearn_datasets.load_digits()
    pixels, labels = collect(dataset.test)
    np.testing.assert_array_equal(labels, stored.target[-500:])
    np.testing.assert_allclose(
        pixels[..., 0], stored.images[-500:] / 16.0, atol=0.5 / 255
    )
    assert (dataset.num_train, dataset.num_test) == (1297, 500)
    assert dataset.image_shape == (8, 8, 1) and dataset.num_classes == 10
    pixels, labels = collect(load(data_dir, drop_remainder=False).train)
    np.testing.assert_array_equal(
        np.bincount(labels), np.bincount(stored.target[:-500])
    )
    assert pixels.dtype == np.float32
    assert pixels.min() == 0.0 and pixels.max() == 1.0


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "digits"},
        slow({"name": "cifar10"}),
        slow({"name": "conadv_made_images/any_size", "image_size": 8}),
    ],
)
def test_epochs_are_shuffled_and_repeat_with_the_seed(
    data_dir, fake_cifar, arguments
):
    images.assert_epochs_repeat_with_the_seed(
        lambda seed: ca.data.load(
            global_batch_size=4, data_dir=data_dir, seed=seed, **arguments
        )
    )


@pytest.mark.parametrize("drop_remainder, steps", [(True, 10), (False, 11)])
def test_batches_of_an_epoch(data_dir, drop_remainder, steps):
    dataset = load(
        data_dir, global_batch_size=128, drop_remainder=drop_remainder
    )
    sizes = [len(labels) for _, labels in dataset.train.as_numpy_iterator()]
    assert len(sizes) == dataset.steps_per_epoch == steps
    static = dataset.train.element_spec[0].shape[0]
    assert static == (128 if drop_remainder else None)


def test_digits_need_no_network(tmp_path, monkeypatch):
    def connect(*arguments, **kwargs):
        asked.append(arguments)

    asked = []
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    load(str(tmp_path))
    assert not asked


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"name": "mnits"}, "received 'mnits'"),
        ({"name": "digits", "global_batch_size": 1298}, "1 to 1297.*1298"),
        ({"name": "digits", "global_batch_size": 0}, "received 0"),
        ({"views": 3}, "1 or 2; received 3"),
        ({"dtype": "float16"}, "'bfloat16'.*received 'float16'"),
        ({"image_size": 0}, "image_size >= 1; received 0"),
        ({"num_replicas": 5}, r"128 = 5 x 25 \+ 3. Use 125 or 130"),
    ],
)
def test_invalid_arguments(data_dir, arguments, message):
    with pytest.raises(ValueError, match=message):
        ca.data.load(data_dir=data_dir, **arguments)


# Without a network tfds alone would retry for minutes.
@pytest.mark.parametrize(
    "name, message",
    [
        ("cifar10", r"'cifar10' is not prepared.*download_and_prepare\(\)"),
        (
            "imagenet2012",
            "ILSVRC2012_img_train.tar.*ILSVRC2012_img_val.tar.*downloads/"
            "manual.*tfds.builder\\('imagenet2012', data_dir=",
        ),
        ("my_stanford_dogs", "received 'my_stanford_dogs'.*not found"),
        ("the300w_lp/none", "received 'the300w_lp/none'"),
    ],
)
def test_unprepared_data_fail_at_once(tmp_path, monkeypatch, name, message):
    def refuse(*arguments, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    started = time.monotonic()
    with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
        ca.data.load(name, data_dir=str(tmp_path))
    assert time.monotonic() - started < 10


# Name resolution has no timeout.
def test_a_silent_name_server(tmp_path, monkeypatch):
    def wait(*arguments, **kwargs):
        time.sleep(2)
        raise OSError("no answer at last")

    monkeypatch.setattr(tfds_builder, "_TIMEOUT_SECONDS", 0)
    monkeypatch.setattr(socket, "getaddrinfo", wait)
    with pytest.raises(ValueError, match="TimeoutError: no answer from http"):
        ca.data.load("cifar10", data_dir=str(tmp_path))


def test_a_dataset_of_tfds(data_dir):
    dataset = made(data_dir)
    assert dataset.image_shape == (8, 8, 3) and dataset.num_classes == 5
    assert dataset.num_train == ConadvMadeImages.NUM_TRAIN
    assert dataset.num_test == ConadvMadeImages.NUM_TEST
    # tfds shuffles records on disk. The grey level of an image is its number.
    pixels, labels = collect(dataset.test)
    levels = np.round(pixels[:, 0, 0, 0] * 255).astype(int)
    assert sorted(levels) == list(range(100, 107))
    np.testing.assert_array_equal(levels % 5, labels)


def test_images_of_any_size_are_cropped_and_resized(data_dir):
    dataset = made(data_dir, "any_size", image_size=24, views=2)
    assert dataset.image_shape == (24, 24, 3)
    for _ in range(2):
        (clean, augmented), _ = next(iter(dataset.train))
        assert clean.shape == augmented.shape == (4, 24, 24, 3)
    pixels, _ = collect(dataset.test)
    assert pixels.shape == (7, 24, 24, 3)
    assert pixels.min() >= 0 and pixels.max() <= 1


def test_part_of_the_training_split_can_be_held_out(data_dir):
    with pytest.raises(ValueError, match=r"found \['train'\].*holdout=0.1"):
        made(data_dir, "no_test")
    dataset = made(data_dir, "no_test", holdout=0.3, drop_remainder=False)
    assert (dataset.num_train, dataset.num_test) == (16, 7)
    train, test = (
        collect(d)[0].max((1, 2, 3)) for d in (dataset.train, dataset.test)
    )
    levels = np.round(np.concatenate([train, test]) * 255)
    assert sorted(levels) == list(range(23))
    with pytest.raises(ValueError, match="own test set.*holdout=0.3"):
        made(data_dir, holdout=0.3)


@pytest.mark.parametrize("config", ["no_image", "unlabelled"])
def test_datasets_without_image_or_label(data_dir, config):
    with pytest.raises(
        ValueError, match="one image and one class label; found"
    ):
        made(data_dir, config)


def test_cifar_is_padded_and_the_first_view_does_not_depend_on_a_second(
    fake_cifar,
):
    single, _ = collect(ca.data.load("cifar10", 8).train)
    assert single.shape == (16, 8, 8, 3)
    assert (single.min(axis=(1, 2)) == 0).any()  # The padding is visible.
    pairs = [pair for pair, _ in ca.data.load("cifar10", 8, views=2).train]
    clean, other = (np.concatenate(views) for views in zip(*pairs))
    np.testing.assert_array_equal(clean, single)
    assert not np.array_equal(clean, other)


def test_digits_in_two_views(data_dir):
    dataset = load(data_dir, views=2, augment=lambda image, seed: 255 - image)
    (clean, inverted), labels = next(iter(dataset.train))
    expected, expected_labels = next(iter(load(data_dir).train))
    np.testing.assert_array_equal(clean, expected)  # No crop, no mirror image.
    np.testing.assert_array_equal(labels, expected_labels)
    np.testing.assert_allclose(inverted, 1 - clean, atol=1e-6)
    spec, _ = load(data_dir, dtype="bfloat16").test.element_spec
    assert spec.dtype == "bfloat16"


def test_another_process_prepares_the_data_first(tmp_path, monkeypatch):
    prepare = digits.ConadvDigits.download_and_prepare

    def prepare_too_late(self, **kwargs):
        prepare(self, **kwargs)
        raise OSError("Directory not empty")

    monkeypatch.setattr(
        digits.ConadvDigits, "download_and_prepare", prepare_too_late
    )
    assert ca.data.load("digits", data_dir=tmp_path).num_train == 1297
