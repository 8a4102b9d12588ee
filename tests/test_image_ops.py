"""Colour and geometric operations against Pillow."""

import functools

import numpy as np
from PIL import Image
from PIL import ImageEnhance
from PIL import ImageOps
import pytest
from sklearn import datasets
import tensorflow as tf

from conadv_tf.data import color_ops
from conadv_tf.data import geometric_ops
from conadv_tf.data import policies

GREY = (128, 128, 128)


def affine(*coefficients):
    return lambda image: image.transform(
        image.size, Image.AFFINE, coefficients, Image.NEAREST, fillcolor=GREY
    )


def enhance(enhancer, factor):
    return lambda image: enhancer(image).enhance(factor)


# Pillow's by the paper's names: from the argument to a function of an image.
PILLOW = {
    "AutoContrast": lambda _: ImageOps.autocontrast,
    "Brightness": lambda value: enhance(ImageEnhance.Brightness, value),
    "Color": lambda value: enhance(ImageEnhance.Color, value),
    "Contrast": lambda value: enhance(ImageEnhance.Contrast, value),
    "Equalize": lambda _: ImageOps.equalize,
    "Invert": lambda _: ImageOps.invert,
    # Zero bits were black and are an error in newer Pillows.
    "Posterize": lambda bits: (
        lambda image: (
            ImageOps.posterize(image, int(bits))
            if bits
            else Image.new(image.mode, image.size)
        )
    ),
    "Rotate": lambda degrees: (
        lambda image: image.rotate(degrees, fillcolor=GREY)
    ),
    "Sharpness": lambda value: enhance(ImageEnhance.Sharpness, value),
    "ShearX": lambda slope: affine(1, slope, 0, 0, 1, 0),
    "ShearY": lambda slope: affine(1, 0, 0, slope, 1, 0),
    "Solarize": lambda value: (
        lambda image: ImageOps.solarize(image, int(value))
    ),
    "SolarizeAdd": lambda value: (
        lambda image: image.point(
            lambda level: min(level + int(value), 255) if level < 128 else level
        )
    ),
    "TranslateX": lambda pixels: affine(1, 0, pixels, 0, 1, 0),
    "TranslateY": lambda pixels: affine(1, 0, 0, 0, 1, pixels),
}
OURS = {**color_ops.OPERATIONS, **geometric_ops.OPERATIONS}


@functools.cache
def photograph():
    """A photograph, uint8 [427, 640, 3]."""
    return datasets.load_sample_image("flower.jpg")


@functools.cache
def images():
    generator = np.random.default_rng(0)
    crop = photograph()[200:248, 300:364]
    return {
        "photograph": crop,
        # Few levels, far from black and white.
        "dull": crop // 4 + 90,
        "random": generator.integers(0, 256, (33, 20, 3), np.uint8),
        "constant": np.full((17, 9, 3), 77, np.uint8),
        "tiny": generator.integers(0, 256, (2, 3, 3), np.uint8),
    }


@functools.cache
def in_graph(name, channels=3):
    """Our operation as the input pipeline runs it: unknown size, a graph."""
    return tf.function(
        OURS[name],
        input_signature=[
            tf.TensorSpec([None, None, channels], tf.uint8),
            tf.TensorSpec([], tf.float32),
        ],
    )


def with_pillow(name, image, argument):
    function = PILLOW[name](argument)
    return np.asarray(function(Image.fromarray(image)))


def arguments(name, magnitude):
    """What the policies make of a magnitude, each sign that occurs."""
    if name in policies.WITHOUT_ARGUMENT:
        return {0.0}
    found = set()
    for policy in policies.POLICIES.values():
        if name in policy.ranges:
            argument = policy.ranges[name].argument(magnitude)
            found.add(argument)
            if policy.ranges[name].signed:
                found.add(-argument)
    return found


# The definitions are Pillow's, so not one grey level may differ.
@pytest.mark.parametrize("magnitude", range(11))
@pytest.mark.parametrize("name", OURS)
def test_operations_equal_those_of_pillow(name, magnitude):
    for argument in arguments(name, magnitude):
        for kind, image in images().items():
            np.testing.assert_array_equal(
                in_graph(name)(image, argument),
                with_pillow(name, image, argument),
                err_msg=f"{kind}, argument {argument}",
            )


# Beyond the magnitudes: each argument that is an integer, both degenerate
# images of an enhancement, sharper than any policy.
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Posterize", range(9)),
        ("Solarize", range(0, 257, 8)),
        ("SolarizeAdd", range(0, 256, 16)),
        ("Color", (0.0, 1.0, 3.0)),
        ("Contrast", (0.0, 1.0, 3.0)),
        ("Brightness", (0.0, 1.0, 3.0)),
        ("Sharpness", (0.0, 1.0, 5.0)),
        ("Rotate", (45.0, 90.0, 180.0, -90.0, 359.0)),
        ("TranslateX", (-0.5, 0.5, 0.49, 2.5, 1000.0)),
        ("TranslateY", (-0.5, 0.5, 0.49, -2.5, -1000.0)),
        ("ShearX", (-1.0, 1.0, 0.5)),
        ("ShearY", (-1.0, 1.0, 0.5)),
    ],
)
def test_operations_equal_those_of_pillow_at_other_arguments(name, values):
    for value in values:
        for kind, image in images().items():
            np.testing.assert_array_equal(
                in_graph(name)(image, value),
                with_pillow(name, image, value),
                err_msg=f"{kind}, argument {value}",
            )


# float32 coordinates are coarser than Pillow's steps over 256 pixels.
@pytest.mark.parametrize("name", ["Rotate", "ShearX", "ShearY", "TranslateX"])
@pytest.mark.parametrize(
    ("shape", "share"), [((224, 256), 0.0), ((427, 640), 1e-3)]
)
def test_large_images(name, shape, share):
    image = photograph()[: shape[0], : shape[1]]
    for magnitude in (1, 4, 7, 10):
        for argument in arguments(name, magnitude):
            different = np.any(
                in_graph(name)(image, argument).numpy()
                != with_pillow(name, image, argument),
                axis=-1,
            )
            assert np.mean(different) <= share


# Pillow's grey images ("L") go through the same definitions.
@pytest.mark.parametrize("name", OURS)
def test_grey_images(name):
    image = images()["photograph"][..., :1]
    for argument in arguments(name, 3):
        ours = in_graph(name, channels=1)(image, argument)
        if name in ("Rotate", "ShearX", "ShearY", "TranslateX", "TranslateY"):
            # No fill colour for three channels: the same on each.
            expected = with_pillow(name, np.repeat(image, 3, -1), argument)
            np.testing.assert_array_equal(ours, expected[..., :1])
        else:
            expected = with_pillow(name, image[..., 0], argument)
            np.testing.assert_array_equal(ours[..., 0], expected)


@pytest.mark.parametrize("center", [(0, 0), (20, 10), (32, 19), (5, 18)])
@pytest.mark.parametrize("half_size", [0, 1, 7, 100])
def test_cutout_covers_a_square_cut_off_at_the_borders(half_size, center):
    image = images()["random"]
    row, column = center
    expected = image.copy()
    expected[
        max(row - half_size, 0) : row + half_size,
        max(column - half_size, 0) : column + half_size,
    ] = 128
    np.testing.assert_array_equal(
        geometric_ops.cutout(image, half_size, tf.constant(center)), expected
    )


# What the names promise, without Pillow.
def test_directions():
    image = np.zeros((5, 5, 1), np.uint8)
    image[2, 4] = 255
    left = geometric_ops.translate_x(image, 1.0).numpy()
    up = geometric_ops.translate_y(image, 1.0).numpy()
    turned = geometric_ops.rotate(image, 90.0).numpy()
    assert left[2, 3] == up[1, 4] == turned[0, 2] == 255
    assert np.all(left[:, 4] == 128) and np.all(up[4] == 128)
