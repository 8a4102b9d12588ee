"""Colour and geometric operations against Pillow and tensorflow-addons."""

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


# {the paper's name: function of the argument that returns Pillow's operation}.
PILLOW = {
    "AutoContrast": lambda _: ImageOps.autocontrast,
    "Brightness": lambda value: enhance(ImageEnhance.Brightness, value),
    "Color": lambda value: enhance(ImageEnhance.Color, value),
    "Contrast": lambda value: enhance(ImageEnhance.Contrast, value),
    "Equalize": lambda _: ImageOps.equalize,
    "Invert": lambda _: ImageOps.invert,
    # Zero bits are black in older Pillows and an error in newer ones.
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
        # Few grey levels, far from black and white.
        "dull": crop // 4 + 90,
        "random": generator.integers(0, 256, (33, 20, 3), np.uint8),
        "constant": np.full((17, 9, 3), 77, np.uint8),
        "tiny": generator.integers(0, 256, (2, 3, 3), np.uint8),
    }


@functools.cache
def in_graph(name, channels=3):
    """Our operation in a graph with unknown image size, as in a pipeline."""
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


def arguments(name, *magnitudes):
    """Arguments of these magnitudes in all policies, with each sign."""
    if name in policies.WITHOUT_ARGUMENT:
        return {0.0}
    found = set()
    for policy in policies.POLICIES.values():
        if name in policy.ranges:
            for magnitude in magnitudes:
                argument = policy.ranges[name].argument(magnitude)
                signed = policy.ranges[name].signed
                found |= {argument, -argument} if signed else {argument}
    return found


# Beyond the magnitudes: all integer arguments, both degenerate images of an
# enhancement, sharper images than in any policy.
OTHER_ARGUMENTS = {
    "Posterize": range(9),
    "Solarize": range(0, 257, 8),
    "SolarizeAdd": range(0, 256, 16),
    "Color": (0.0, 1.0, 3.0),
    "Contrast": (0.0, 1.0, 3.0),
    "Brightness": (0.0, 1.0, 3.0),
    "Sharpness": (0.0, 1.0, 5.0),
    "Rotate": (45.0, 90.0, 180.0, -90.0, 359.0),
    "TranslateX": (-0.5, 0.5, 0.49, 2.5, 1000.0),
    "TranslateY": (-0.5, 0.5, 0.49, -2.5, -1000.0),
    "ShearX": (-1.0, 1.0, 0.5),
    "ShearY": (-1.0, 1.0, 0.5),
}


# Our operations are defined by Pillow, so all grey levels must be equal.
@pytest.mark.parametrize("name", OURS)
def test_operations_equal_pillow(name):
    others = OTHER_ARGUMENTS.get(name, ())
    for argument in {*arguments(name, *range(11)), *others}:
        for kind, image in images().items():
            np.testing.assert_array_equal(
                in_graph(name)(image, argument),
                with_pillow(name, image, argument),
                err_msg=f"{kind}, argument {argument}",
            )


# Needs the stack of TensorFlow 2.15.
@pytest.mark.parametrize("name", geometric_ops.OPERATIONS)
def test_geometric_operations_equal_addons(monkeypatch, name):
    tfa = pytest.importorskip("tensorflow_addons")
    operation = geometric_ops.OPERATIONS[name]
    cases = [
        (tf.constant(image), argument, fill)
        for image in images().values()
        for argument in arguments(name, 3, 10) | {0.5, -7.3}
        for fill in (0, 128, 255)
    ]
    ours = [operation(*case) for case in cases]
    monkeypatch.setattr(
        geometric_ops,
        "projective_transform",
        lambda image, coefficients, fill: tfa.image.transform(
            image, coefficients, fill_value=fill
        ),
    )
    for case, expected in zip(cases, ours):
        np.testing.assert_array_equal(operation(*case), expected)


# Beyond 256 pixels float32 coordinates are coarser than Pillow's steps.
@pytest.mark.parametrize("name", ["Rotate", "ShearX", "ShearY", "TranslateX"])
@pytest.mark.parametrize(
    ("shape", "share"), [((224, 256), 0.0), ((427, 640), 1e-3)]
)
def test_large_images(name, shape, share):
    image = photograph()[: shape[0], : shape[1]]
    for argument in arguments(name, 1, 4, 7, 10):
        different = np.any(
            in_graph(name)(image, argument).numpy()
            != with_pillow(name, image, argument),
            axis=-1,
        )
        assert np.mean(different) <= share


# Pillow treats grey images ("L") in the same way.
@pytest.mark.parametrize("name", OURS)
def test_grey_images(name):
    image = images()["photograph"][..., :1]
    for argument in arguments(name, 3):
        ours = in_graph(name, channels=1)(image, argument)
        if name in geometric_ops.OPERATIONS:
            # The fill colour has three channels, so grey images are repeated.
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


def test_directions():
    image = np.zeros((5, 5, 1), np.uint8)
    image[2, 4] = 255
    left = geometric_ops.translate_x(image, 1.0).numpy()
    up = geometric_ops.translate_y(image, 1.0).numpy()
    rotated = geometric_ops.rotate(image, 90.0).numpy()
    assert left[2, 3] == up[1, 4] == rotated[0, 2] == 255
    assert np.all(left[:, 4] == 128) and np.all(up[4] == 128)
