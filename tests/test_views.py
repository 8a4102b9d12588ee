"""Crops, mirror images and resizing, against geometry and Pillow."""

import math

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from conadv_tf.data import views
from conadv_tf.data.decoding import EncodedImage
from tests import images


def key(number, other=1):
    return tf.constant([number, other], tf.int64)


def windows(height, width, count=300):
    draw = tf.function(
        lambda k: views.random_window(tf.constant([height, width, 3]), k)
    )
    return np.stack([draw(key(number)).numpy() for number in range(count)])


@pytest.mark.parametrize("height, width", [(375, 500), (64, 48)])
def test_random_windows_have_the_area_and_aspect_of_inception(height, width):
    top, left, tall, wide = windows(height, width).T
    assert (top >= 0).all() and (left >= 0).all()
    assert (top + tall <= height).all() and (left + wide <= width).all()
    area, aspect = tall * wide / (height * width), wide / tall
    one_pixel = 1.5 / np.minimum(tall, wide)  # Both sides are rounded.
    assert (area > 0.08 * (1 - 2 * one_pixel)).all()
    assert (aspect > 3 / 4 * (1 - one_pixel)).all()
    assert (aspect < 4 / 3 * (1 + one_pixel)).all()
    # The draws reach both bounds.
    assert area.min() < 0.12 and area.max() > 0.8
    assert aspect.min() < 0.8 and aspect.max() > 1.25


# No window with an aspect ratio of 3/4 to 4/3 has 8% of its area.
def test_the_window_of_a_very_long_image_is_the_whole_image():
    np.testing.assert_array_equal(
        windows(2, 400, count=3), [[0, 0, 2, 400]] * 3
    )


@pytest.mark.parametrize("height, width", [(375, 500), (500, 333), (41, 40)])
@pytest.mark.parametrize("size", [224, 32])
def test_central_window_leaves_32_pixels_of_padding(height, width, size):
    window = views.central_window(tf.constant([height, width, 3]), size)
    top, left, tall, wide = window.numpy()
    side = math.floor(min(height, width) * size / (size + 32))
    assert tall == wide == side
    # Centred, up to half a pixel.
    assert abs(top + side / 2 - height / 2) <= 0.5
    assert abs(left + side / 2 - width / 2) <= 0.5


# 256 is 224 with 16 pixels of padding on each side, so the crop keeps its size.
def test_central_view_is_the_middle_of_the_image():
    contents = images.encode(images.noise(256, 300), "PNG")
    image = views.central_view(224, "float32")(contents)
    np.testing.assert_allclose(
        image, images.decode(contents)[16:240, 38:262] / 255.0, atol=1e-6
    )


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_crops_are_windows_of_the_image_decoded_by_pillow(form):
    contents = images.encode(images.photo(37, 61), form)
    expected = images.decode(contents)
    encoded = EncodedImage(tf.constant(contents))
    np.testing.assert_array_equal(encoded.shape, [37, 61, 3])
    a, b, c, d = [0, 0, 37, 61], [5, 7, 11, 13], [36, 60, 1, 1], [9, 2, 4, 50]
    for windows in ([a], [b], [c], [d, b], [b, c]):
        for window, crop in zip(windows, encoded.crops(tf.constant(windows))):
            top, left, height, width = window
            rows, columns = slice(top, top + height), slice(left, left + width)
            np.testing.assert_array_equal(crop, expected[rows, columns])


def test_resizing_follows_pillow_and_keeps_the_range():
    image = images.photo(64, 64)
    resized = views.resize(tf.constant(image), 96).numpy()
    # The coefficient of Pillow's bicubic kernel is -0.5, TensorFlow's -0.75.
    expected = np.asarray(
        Image.fromarray(image).resize((96, 96), Image.BICUBIC), np.float32
    )
    np.testing.assert_allclose(resized, expected, atol=3)
    np.testing.assert_array_equal(views.resize(tf.constant(image), 64), image)
    steps = np.kron(
        images.noise(4, 4) // 128 * 255, np.ones((4, 4, 1), "uint8")
    )
    resized = views.resize(tf.constant(steps), 33).numpy()
    assert resized.min() == 0.0 and resized.max() == 255.0


def two_views(contents, number, augment=None):
    make = views.random_views(24, 2, True, augment, tf.float32)
    pair = make(tf.constant(contents), key(number))
    return [image.numpy() for image in pair]


def test_an_image_of_one_colour_keeps_it():
    contents = images.encode(np.full((50, 70, 3), (200, 30, 90), "uint8"))
    expected = np.broadcast_to(
        images.decode(contents)[0, 0] / 255.0, (24, 24, 3)
    )
    for number in range(5):
        for image in two_views(contents, number):
            np.testing.assert_allclose(image, expected, atol=1e-6)
    image = views.central_view(24, "float32")(tf.constant(contents))
    np.testing.assert_allclose(image, expected, atol=1e-6)


# The image becomes brighter to the right, so that brightness shows the window
# and the mirroring.
def test_views_are_drawn_independently_and_repeat_with_the_key():
    ramp = np.tile(np.arange(100, dtype=np.uint8)[None, :, None], (80, 1, 3))
    contents = images.encode(2 * ramp, "PNG")
    mirrored, means = [], []
    for number in range(40):
        pair = two_views(contents, number)
        mirrored.append(
            [image[:, 0].mean() > image[:, -1].mean() for image in pair]
        )
        means.append([image.mean() for image in pair])
    assert {tuple(pair) for pair in mirrored} == {
        (a, b) for a in (False, True) for b in (False, True)
    }
    assert abs(np.corrcoef(np.transpose(means))[0, 1]) < 0.5
    np.testing.assert_array_equal(
        two_views(contents, 3), two_views(contents, 3)
    )


def invert(image, seed):
    assert image.dtype == tf.uint8 and seed.shape == (2,)
    return 255 - image


def test_only_the_last_view_is_augmented():
    contents = images.encode(images.photo(60, 60))
    clean, plain = two_views(contents, 7)
    first, last = two_views(contents, 7, invert)
    np.testing.assert_array_equal(first, clean)
    # Images are rounded to whole grey levels before they are augmented.
    np.testing.assert_allclose(last, 1.0 - plain, atol=0.501 / 255)
    for augment, expected in ((None, clean), (invert, 1.0 - clean)):
        make = views.random_views(24, 1, True, augment, tf.float32)
        only = make(tf.constant(contents), key(7))
        np.testing.assert_allclose(only, expected, atol=0.501 / 255)


def test_an_augmentation_of_another_dtype_is_an_error():
    make = views.shifted_views(0, False, 1, lambda image, seed: image / 255)
    with pytest.raises(ValueError, match="uint8 image; received dtype float"):
        make(tf.constant(images.noise(8, 8)), key(0))


def test_small_images_are_shifted_and_mirrored_independently():
    image = images.noise(6, 6)
    padded = np.pad(image, ((2, 2), (2, 2), (0, 0)))
    windows = [
        padded[row : row + 6, column : column + 6][:, ::step]
        for row in range(5)
        for column in range(5)
        for step in (1, -1)
    ]
    indices = {window.tobytes(): index for index, window in enumerate(windows)}
    make = tf.function(views.shifted_views(2, True, 2, None))
    seen = set()
    for number in range(60):
        pair = make(tf.constant(image), key(number))
        seen.add(tuple(indices[view.numpy().tobytes()] for view in pair))
    assert len({first for first, _ in seen}) > 20
    assert len(seen) > 50


def test_unchanged_small_images_have_no_view():
    assert views.shifted_views(0, False, 1, None) is None
    first, last = views.shifted_views(0, False, 2, None)(
        tf.constant(images.noise(8, 8, channels=1)), key(0)
    )
    np.testing.assert_array_equal(first, last)
