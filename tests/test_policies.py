"""AutoAugment's policies, and the operations drawn from them."""

import collections

import numpy as np
import pytest
from sklearn import datasets
import tensorflow as tf

from conadv_tf.data import auto_augment
from conadv_tf.data import color_ops
from conadv_tf.data import geometric_ops
from conadv_tf.data import policies
from tests.marks import slow

# All operations, and the sums of probabilities and magnitudes in the copies of
# the TensorFlow Model Garden and torchvision. The latter has no magnitudes for
# operations without an argument, so these are not counted.
TABLES = {
    "cifar": (
        "AutoContrast Brightness Color Contrast Cutout Equalize Invert "
        "Posterize Rotate Sharpness ShearX ShearY Solarize TranslateX "
        "TranslateY",
        26.5,
        187,
    ),
    "imagenet": (
        "AutoContrast Brightness Color Contrast Cutout Equalize Invert "
        "Posterize Rotate Sharpness ShearX ShearY Solarize SolarizeAdd "
        "TranslateX TranslateY",
        29.8,
        167,
    ),
}


def photograph():
    return datasets.load_sample_image("flower.jpg")[200:248, 300:364]


def single(*operations, ranges=policies.IMAGENET.ranges):
    """A policy of one sub-policy with one or two operations."""
    pair = (*operations, ("Invert", 0.0, 0))[:2]
    return policies.Policy("single", (pair,), ranges)


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_complete_and_equal_other_copies(name):
    policy = policies.POLICIES[name]
    names, probability, magnitude = TABLES[name]
    known = {*policy.ranges, *policies.WITHOUT_ARGUMENT}
    assert sorted(known) == names.split()
    assert len(policy.sub_policies) == 25
    operations = [
        operation for pair in policy.sub_policies for operation in pair
    ]
    for operation in operations:
        tenths = operation.probability * 10
        assert abs(tenths - round(tenths)) < 1e-9, operation
        if name == "imagenet":  # The TPU code searched over six values.
            assert round(tenths) % 2 == 0, operation
    total = sum(operation.probability for operation in operations)
    assert round(total, 6) == probability
    assert magnitude == sum(
        operation.magnitude
        for operation in operations
        if operation.name not in policies.WITHOUT_ARGUMENT
    )


# The formulas of the two released implementations, in their original form.
RELEASED = {
    "imagenet": {
        "Color": lambda level: level / 10 * 1.8 + 0.1,
        "Cutout": lambda level: int(level / 10 * 100),
        # TensorFlow shifts a byte by 7 at most, so that one bit remains.
        "Posterize": lambda level: max(int(level / 10 * 4), 1),
        "Rotate": lambda level: level / 10 * 30.0,
        "ShearX": lambda level: level / 10 * 0.3,
        "Solarize": lambda level: int(level / 10 * 256),
        "SolarizeAdd": lambda level: int(level / 10 * 110),
        "TranslateY": lambda level: level / 10 * 250.0,
    },
    "cifar": {
        "Contrast": lambda level: level * 1.8 / 10 + 0.1,
        "Cutout": lambda level: int(level * 20 / 10) // 2,
        "Posterize": lambda level: 4 - int(level * 4 / 10),
        "Rotate": lambda level: int(level * 30 / 10),
        "ShearY": lambda level: level * 0.3 / 10,
        "Solarize": lambda level: 256 - int(level * 256 / 10),
        "TranslateX": lambda level: int(level * 10 / 10),
    },
}


@pytest.mark.parametrize("policy", RELEASED)
def test_ranges_equal_the_released_code(policy):
    for name, formula in RELEASED[policy].items():
        for magnitude in range(11):
            argument = policies.POLICIES[policy].argument(
                policies.Operation(name, 1.0, magnitude)
            )
            assert argument == pytest.approx(formula(magnitude)), name


@pytest.mark.parametrize(
    ("operation", "received"),
    [
        (("Blur", 0.5, 3), "Blur"),
        (("SolarizeAdd", 0.5, 3), "SolarizeAdd"),
        (("Invert", 1.5, 3), "1.5"),
        (("Invert", 0.5, 11), "11"),
        (("Invert", 0.5, 2.5), "2.5"),
    ],
)
def test_invalid_operations(operation, received):
    with pytest.raises(ValueError, match=received):
        single(operation, ranges=policies.CIFAR.ranges)


def test_sub_policies_are_pairs():
    with pytest.raises(ValueError, match="two operations.*Invert"):
        policies.Policy("x", ((("Invert", 1.0, 0),),), {})
    with pytest.raises(ValueError, match="at least one"):
        policies.Policy("x", (), {})


def augment_many(image, policy, number, threads=None):
    """Images for the seeds (0, 7), (1, 7), ... from a `tf.data` map."""
    dataset = tf.data.Dataset.range(number).map(
        lambda index: auto_augment(image, tf.stack([index, 7]), policy),
        num_parallel_calls=threads,
    )
    assert dataset.element_spec.shape == image.shape
    assert dataset.element_spec.dtype == tf.uint8
    return np.stack(list(dataset.as_numpy_iterator()))


@pytest.mark.parametrize(
    ("policy", "channels"), [slow("imagenet", 3), ("cifar", 1)]
)
def test_the_result_depends_on_the_seed_alone(policy, channels):
    image = photograph()[:32, :32, :channels]
    first = augment_many(image, policy, 40)
    np.testing.assert_array_equal(
        first, augment_many(image, policy, 40, threads=4)
    )
    for index in (0, 17):
        eager = auto_augment(image, [index, 7], policy)
        np.testing.assert_array_equal(eager, first[index])
    assert len(np.unique(first, axis=0)) > 10


def test_images_of_unknown_size():
    augment = tf.function(
        auto_augment,
        input_signature=[
            tf.TensorSpec([None, None, 3], tf.uint8),
            tf.TensorSpec([2], tf.int64),
        ],
    )
    for size in (8, 21):
        assert augment(photograph()[:size], [1, 2]).shape == (size, 64, 3)


# Each sub-policy leaves a different grey level.
def test_sub_policies_are_drawn_evenly_and_in_order():
    ranges = {"SolarizeAdd": policies.Range(0, 10, integer=True)}
    pairs = [
        (("SolarizeAdd", 1.0, row), ("SolarizeAdd", 1.0, column))
        for row, column in [(0, 0), (0, 1), (0, 3), (3, 5), (9, 10)]
    ]
    policy = policies.Policy("grey levels", pairs, ranges)
    drawn = augment_many(np.zeros((1, 1, 1), np.uint8), policy, 2000)
    values, counts = np.unique(drawn, return_counts=True)
    np.testing.assert_array_equal(values, [0, 1, 3, 8, 19])
    # Four standard deviations of a binomial(2000, 1/5).
    np.testing.assert_allclose(counts, 400, atol=72)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_operations_are_applied_independently(probability):
    ranges = {"SolarizeAdd": policies.Range(0, 100, integer=True)}
    policy = single(
        ("SolarizeAdd", probability, 1),
        ("SolarizeAdd", probability, 4),
        ranges=ranges,
    )
    number = 2000
    drawn = augment_many(np.zeros((1, 1, 1), np.uint8), policy, number)
    p = probability
    for level, chance in {
        0: (1 - p) ** 2,
        10: p * (1 - p),
        40: p * (1 - p),
        50: p * p,
    }.items():
        tolerance = 4 * np.sqrt(chance * (1 - chance) * number)
        assert abs(np.sum(drawn == level) - chance * number) <= tolerance


def test_both_signs_are_drawn():
    image = photograph()
    drawn = augment_many(image, single(("TranslateX", 1.0, 1)), 200)
    left, right = (
        np.sum(np.all(drawn == geometric_ops.translate_x(image, x), (1, 2, 3)))
        for x in (25.0, -25.0)
    )
    assert left + right == 200
    assert abs(left - 100) <= 28  # Four standard deviations.


def test_cutout_is_centered_anywhere():
    image = np.zeros((12, 10, 1), np.uint8)
    ranges = {"Cutout": policies.Range(0, 10, integer=True)}
    policy = single(("Cutout", 1.0, 1), ranges=ranges)
    drawn = augment_many(image, policy, 2000)[..., 0] == 128
    # The lower right pixel of a 2x2 square is the center. Each pixel is the
    # center about 17 times; squares are clipped at the first row and column.
    last = drawn[:, ::-1, ::-1].reshape(2000, -1).argmax(axis=1)
    counts = np.bincount(last, minlength=120)
    assert counts.min() > 0
    assert counts.max() < 40
    assert set(np.unique(drawn.sum((1, 2)))) == {1, 2, 4}


@pytest.mark.parametrize(
    ("policy", "magnitude"), [(policies.IMAGENET, 6), (policies.CIFAR, 7)]
)
def test_magnitudes_use_the_ranges_of_their_policy(policy, magnitude):
    image = photograph()
    posterize = single(("Posterize", 1.0, magnitude), ranges=policy.ranges)
    augmented = auto_augment(image, [0, 0], posterize)
    np.testing.assert_array_equal(augmented, image >> 6 << 6)  # Two bits.


def test_only_the_chosen_operation_runs(monkeypatch):
    calls = collections.Counter()

    def counting(name, operation):
        def count(image):
            calls[name] += 1
            return image

        def counted(image, *arguments):
            image = tf.numpy_function(count, [image], tf.uint8)
            return operation(tf.ensure_shape(image, [8, 8, 3]), *arguments)

        return counted

    for operations in (color_ops.OPERATIONS, geometric_ops.OPERATIONS):
        for name, operation in list(operations.items()):
            monkeypatch.setitem(operations, name, counting(name, operation))
    always = [
        tuple((name, 1.0, magnitude) for name, _, magnitude in pair)
        for pair in policies.IMAGENET.sub_policies
    ]
    policy = policies.Policy("always", always, policies.IMAGENET.ranges)
    augment_many(photograph()[:8, :8], policy, 30)
    assert sum(calls.values()) == 2 * 30


BLUR = single(("Blur", 1.0, 1), ranges={"Blur": policies.Range(0, 1)})
IMAGE = np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("image", "seed", "policy", "received"),
    [
        (IMAGE, [0, 0], "svhn", "svhn"),
        (IMAGE, [0, 0], BLUR, "Blur"),
        (IMAGE.astype(np.float32), [0, 0], "cifar", "float32"),
        (np.zeros((2, 8, 8, 3), np.uint8), [0, 0], "cifar", "2, 8, 8, 3"),
        (np.zeros((8, 8, 4), np.uint8), [0, 0], "cifar", "8, 8, 4"),
        (IMAGE, [0], "cifar", "int32 .1,"),
        (IMAGE, [0.5, 0.0], "cifar", "float32"),
    ],
)
def test_invalid_arguments(image, seed, policy, received):
    with pytest.raises(ValueError, match=received):
        auto_augment(image, seed, policy)
