"""Pixels and radii that do not fit the value range: errors and warnings."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.attacks import value_range as value_range_lib
from tests import networks

LEVELS = np.arange(0.0, 256.0, dtype=np.float32)
RANGES = [(0.0, 1.0), (0.0, 255.0), (-1.0, 1.0), (-2.0, 3.0), (10.0, 11.0)]


def batch(*pixels):
    """Images of 2x2 pixels of 0.5; images 1, 2, ... contain a given pixel."""
    images = np.full([8, 2, 2, 1], 0.5, np.float32)
    images[0, 0, 0] = 0.0
    for index, pixel in enumerate(pixels):
        images[index + 1, 1, 0] = pixel
    return images


def attacked(images, attack):
    return attack(networks.linear(), images, np.zeros(8), seed=0)


def compiled(attack):
    model = ca.ConAdvModel(networks.linear((2, 2, 1)), attack)
    model.compile("sgd", networks.LOSS)
    return model


# tf.image.resize of white images returns 1.00000024, two float32 units over 1.
@pytest.mark.parametrize("valid", RANGES, ids=str)
def test_rounding_at_the_ends_is_in_range(valid):
    low, high = np.float32(valid)
    largest = np.spacing(max(abs(low), abs(high)))
    middle = np.full([4, 1], (low + high) / 2)
    for units, outside in ((2, 0), (64, 2)):
        middle[1] = high + units * largest
        middle[2] = low - units * largest
        images = tf.constant(middle, tf.float32)
        counts, _ = value_range_lib.measure(images, valid)
        np.testing.assert_array_equal(counts, [0, outside])


@pytest.mark.parametrize(
    "pixels, valid, message",
    [
        # Bicubic overshoot.
        (
            [1.08, -0.05],
            (0, 1),
            r"2 image\(s\) lie outside value_range=\(0.0, 1.0\); received "
            r"pixels from -0.05.* to 1.08.*clip_by_value\(images, 0, 1\)",
        ),
        ([260.0], (0, 255), r"1 image.*clip_by_value\(images, 0, 255\)"),
        ([254.0] * 3, (0, 1), r"3 image.* to 254.*: images / 255\."),
        ([254.0], (-1, 1), r"1 image.*: images / 127\.5 - 1\."),
        (
            [-2.5],
            (0, 1),
            "-2.5 to 0.5.*Scale the images to this.*value_range to the",
        ),
        ([999.0], (0, 255), "0 to 999.*Scale the images to this"),
        (
            [np.nan, np.inf],
            (0, 1),
            r"^Expected pixels in .*; received 2 image\(s\) with NaN(?!.*lie)",
        ),
        ([np.nan, 254], (0, 1), r"1 image\(s\) with NaN.*1 image\(s\) lie out"),
    ],
    ids=str,
)
def test_error_for_bad_pixels_suggests_a_fix_for_the_range(
    pixels, valid, message
):
    width = valid[1] - valid[0]
    attack = ca.FGSM(width / 10, value_range=valid)
    # With one brighter image the batch uses more than 1% of any range.
    images = batch(*pixels)
    images[7] *= width
    with pytest.raises(ValueError, match=message):
        attacked(images, attack)


def test_training_counts_bad_images_of_all_replicas():
    images = batch(np.nan, np.nan, 9.0, 9.0, 9.0)
    images[7, 0, 0] = -4.0
    with ca.distribution.strategy("mirrored").scope():
        model = compiled(ca.FGSM(0.1))
    message = r"2 image.*NaN.* training.*4 image\(s\).* from -4 to 9"
    for _ in range(2):  # The error resets the counts.
        with pytest.raises(ValueError, match=message):
            model.train_on_batch(images, np.zeros(8))


@pytest.mark.parametrize("valid", RANGES, ids=str)
def test_scaling_expression_maps_grey_levels_to_the_range(valid):
    scaled = eval(value_range_lib.scaling("levels", valid), {"levels": LEVELS})
    np.testing.assert_allclose(scaled, np.linspace(*valid, 256), atol=1e-5)
    if valid == (0.0, 255.0):
        return
    with pytest.raises(ValueError) as raised:
        attacked(np.zeros([8, 2, 2, 1], "uint8"), ca.FGSM(0, value_range=valid))
    expected = value_range_lib.scaling("tf.cast(images, tf.float32)", valid)
    assert f"for example {expected}. If the network resc" in str(raised.value)


# Training continued silently with perturbations of eight times the pixels.
def test_images_that_use_little_of_the_range_are_reported():
    attack = ca.FGSM(8, value_range=(0, 255))
    message = r"from 0 to 1, 0\.39% of it.*value_range=\(0, 1\).*images \* 255"
    with pytest.warns(UserWarning, match=message):
        with pytest.raises(ValueError, match=message):
            compiled(attack).fit(batch(1.0), np.zeros(8), verbose=0)
    with pytest.warns(UserWarning, match=message):
        attacked(batch(1.0), attack)


# The first batch can be dark by chance, so it only warns, and once.
def test_little_used_range_in_the_first_batches_only_warns():
    model = compiled(ca.FGSM(0.1))
    labels = np.zeros(8)
    # Constant images, as in tests and benchmarks, do not warn.
    model.train_on_batch(np.zeros([8, 2, 2, 1], "float32"), labels)
    with pytest.warns(UserWarning, match=r"0\.5% of it") as caught:
        for _ in range(2):
            model.train_on_batch(batch() / 100, labels)
    assert len(caught) == 1
    model.fit(batch(1.0), labels, verbose=0)


@pytest.mark.parametrize("make", [ca.PGD, ca.FGSM])
@pytest.mark.parametrize(
    "epsilon, valid, message",
    [
        (8, (0, 1), r"\[0, 1\].*received 8\. Did.* grey levels are 0\.03137"),
        (8, (-1, 1), r"\[0, 2\].*received 8\. Did.* grey levels are 0\.06275"),
        (1.01, (0, 1), r"received 1\.01\. Did you mean grey levels"),
        (300, (0, 255), r"\[0, 255\].*received 300\.$"),
    ],
)
def test_radius_wider_than_the_range_is_refused(make, epsilon, valid, message):
    with pytest.raises(ValueError, match=message):
        make(epsilon, value_range=valid)
    make(epsilon, value_range=valid, norm="l2")
    for fine in (valid[1] - valid[0], 0.1 + 0.2 + 0.7, 0.0):
        make(fine, value_range=valid)


def test_step_wider_than_the_range_is_refused():
    with pytest.raises(ValueError, match="step_size in .*2 of 255 grey levels"):
        ca.PGD(8 / 255, step_size=2)


@pytest.mark.parametrize(
    "epsilon, valid, message",
    [
        (
            4 / 255,
            (0, 255),
            r"epsilon=0\.01569 .* Did you mean a fraction.* of it is 4\.$",
        ),
        (1e-4, (0, 255), "hardly change the images.$"),
        (
            9e-4,
            (0, 1),
            r"one of 255 grey levels is 0\.003922.*hardly.*images\.$",
        ),
    ],
)
def test_tiny_radius_warns(epsilon, valid, message):
    with pytest.warns(UserWarning, match=message) as caught:
        ca.PGD(epsilon, value_range=valid)
    assert caught[0].filename == __file__
