"""keras-cv's augmentations by `augmentation`."""

import sys

import numpy as np
import pytest
from sklearn import datasets
import tensorflow as tf

from conadv_tf.data import augmentation
from tests.marks import all_slow_but

PER_IMAGE = ("randaugment", "augmix")
MIXING = ("mixup", "cutmix")


def batch(number=6, size=24):
    """uint8 crops of a photograph, and one-hot labels of different classes."""
    photograph = datasets.load_sample_image("flower.jpg")
    images = [
        photograph[100 + 20 * i : 100 + 20 * i + size, 200 : 200 + size]
        for i in range(number)
    ]
    return np.stack(images), np.eye(number, dtype=np.float32)


def pipeline(name, images, labels, **options):
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    dataset = dataset.batch(len(images), drop_remainder=True)
    return dataset.map(augmentation(name, **options))


@pytest.fixture
def mixed_precision():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    yield
    tf.keras.mixed_precision.set_global_policy("float32")


# Mixed precision would round grey levels to bfloat16.
@pytest.mark.parametrize(
    "name", all_slow_but(["randaugment", "mixup"], PER_IMAGE + MIXING)
)
def test_in_a_pipeline(name, mixed_precision):
    images, labels = batch()
    options = {}
    if name == "randaugment":  # Tracing takes seconds for each augmentation.
        options = {"augmentations_per_image": 1, "rate": 1.0}
    dataset = pipeline(name, images, labels, **options)
    policy = tf.keras.mixed_precision.global_policy()
    assert policy.name == "mixed_bfloat16"
    for spec, shape in zip(dataset.element_spec, (images.shape, labels.shape)):
        assert spec.shape == shape
        assert spec.dtype == tf.float32
    augmented, new_labels = next(dataset.as_numpy_iterator())
    assert augmented.min() >= 0.0
    assert 0.5 < augmented.max() <= 1.0
    assert not np.array_equal(augmented, images / np.float32(255))
    # More levels than bfloat16 has in [0.25, 1].
    assert len(np.unique(augmented)) > 200
    np.testing.assert_allclose(new_labels.sum(axis=1), 1.0, atol=1e-6)
    if name in PER_IMAGE:
        np.testing.assert_array_equal(new_labels, labels)
    else:
        assert not np.array_equal(new_labels, labels)


def test_uint8_and_floating_point_images_give_the_same():
    images, labels = batch()
    augment = augmentation("cutmix")
    results = []
    for received in (images, images / np.float64(255)):
        tf.random.set_seed(5)
        results.append(augment(received, labels)[0])
    np.testing.assert_allclose(*results, atol=1e-6)


# Constant images, so that pixels show the weights of the mixture.
def test_mixup_mixes_labels_and_pixels_alike():
    number = 8
    values = np.linspace(0.0, 1.0, number, dtype=np.float32)
    images = np.broadcast_to(values[:, None, None, None], (number, 4, 4, 1))
    augment = augmentation("mixup")
    augmented, labels = augment(images, np.eye(number, dtype=np.float32))
    np.testing.assert_allclose(
        augmented[:, 0, 0, 0], labels.numpy() @ values, atol=1e-6
    )


# Labels are the fractions of pixels, unless keras-cv clips the rectangle at a
# border, for which it does not correct the label.
def test_cutmix_labels_are_fractions_of_pixels_except_at_the_border():
    number, size = 200, 16
    values = np.arange(number, dtype=np.float32) / number
    images = np.broadcast_to(
        values[:, None, None, None], (number, size, size, 1)
    )
    augmented, labels = augmentation("cutmix")(
        images, np.eye(number, dtype=np.float32)
    )
    kept = np.mean(np.abs(augmented.numpy() - images) < 1e-6, axis=(1, 2, 3))
    of_label = np.diag(labels)
    assert np.all(of_label <= kept + 1e-6)
    exact = np.abs(of_label - kept) < 1e-6
    assert 0.1 < np.mean(exact) < 0.9


@pytest.mark.parametrize(
    ("name", "images", "labels", "received"),
    [
        ("blur", "float32 2 4 4 3", "float32 2 5", "blur"),
        ("mixup", "float32 4 4 3", "float32 5", "4, 4, 3"),
        ("mixup", "float32 2 4 4 3", "float32 2", r"float32 \(2,\)"),
        ("mixup", "int32 2 4 4 3", "float32 2 5", "int32"),
        ("mixup", "uint8 2 4 4 3", "int64 2 5", "int64"),
    ],
)
def test_invalid_arguments(name, images, labels, received):
    def zeros(text):
        dtype, *shape = text.split()
        return np.zeros([int(size) for size in shape], dtype)

    with pytest.raises(ValueError, match=received):
        augmentation(name)(zeros(images), zeros(labels))


def test_without_keras_cv_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_cv", None)
    with pytest.raises(ImportError, match=r"pip install.*\[data\]"):
        augmentation("mixup")


# The docstring describes this reproducibility, and its trap: by default each
# iteration repeats the same draws.
def test_a_global_seed_repeats_a_run_and_repeat_gives_each_epoch_new_draws():
    images, labels = batch()

    def two_epochs():
        tf.keras.utils.set_random_seed(3)
        dataset = pipeline("mixup", images, labels)
        return [next(dataset.as_numpy_iterator())[1] for _ in range(2)]

    first, second = two_epochs()
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, two_epochs()[0])
    dataset = tf.data.Dataset.from_tensors((images, labels)).repeat(2)
    dataset = dataset.map(augmentation("mixup"))
    first, second = (labels for _, labels in dataset.as_numpy_iterator())
    assert not np.array_equal(first, second)
