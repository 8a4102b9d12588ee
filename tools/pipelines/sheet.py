"""Draws the samples of policy_sheet.py.

Importing this module imports TensorFlow, so the command does it after it has
checked its flags.
"""

import dataclasses

from matplotlib.figure import Figure
import numpy as np
from PIL import Image
import tensorflow as tf

from conadv_tf.data import auto_augment
from conadv_tf.data import policies

# In pixels of the sheet.
_TILE = 112
_GAP = 6
_LABEL_WIDTH = 260
_DOTS_PER_INCH = 100


def draw(name, path, size, number, seed, output):
    """Writes the sheet of a policy.

    Args:
      name: name of the policy.
      path: image file, or None for the flower of scikit-learn.
      size: side of the image in pixels.
      number: samples per sub-policy.
      seed: seed of the samples.
      output: PNG file to write.
    """
    policy = policies.POLICIES[name]
    image = photograph(path, size)
    rows = [
        [image, *samples(image, policy, row, number, seed)]
        for row in range(len(policy.sub_policies))
    ]
    save(sheet(rows), policy, output)


def photograph(path, size):
    """Returns the central square of an image file.

    Args:
      path: image file, or None for the flower of scikit-learn.
      size: side of the result in pixels.

    Returns:
      uint8 array [size, size, 3].
    """
    if path is None:
        from sklearn import datasets

        image = Image.fromarray(datasets.load_sample_image("flower.jpg"))
    else:
        image = Image.open(path).convert("RGB")
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    square = image.crop((left, top, left + side, top + side))
    return np.asarray(square.resize((size, size), Image.BICUBIC))


def samples(image, policy, row, number, seed):
    """Yields `number` uint8 images augmented by the sub-policy of a row."""
    alone = dataclasses.replace(
        policy, sub_policies=(policy.sub_policies[row],)
    )
    augment = tf.function(lambda key: auto_augment(image, key, alone))
    for index in range(number):
        yield augment(tf.constant([seed, row * number + index])).numpy()


def sheet(rows):
    """Lays out rows of uint8 images on white: uint8 [height, width, 3]."""
    # A gap above and left of each tile, and around the whole sheet.
    lines = [np.concatenate([_tile(i) for i in row], axis=1) for row in rows]
    return _padded(np.concatenate(lines), (0, _GAP))


def _tile(image):
    # Enlarging a small image keeps its pixels visible.
    method = Image.BICUBIC if len(image) > _TILE else Image.NEAREST
    tile = Image.fromarray(image).resize((_TILE, _TILE), method)
    return _padded(np.asarray(tile), (_GAP, 0))


def _padded(image, width):
    return np.pad(image, (width, width, (0, 0)), constant_values=255)


def save(canvas, policy, path):
    """Writes a `sheet` and the labels of its policy as a PNG file."""
    height, width = canvas.shape[:2]
    width += _LABEL_WIDTH
    inches = width / _DOTS_PER_INCH, height / _DOTS_PER_INCH
    figure = Figure(inches, dpi=_DOTS_PER_INCH)
    # Pixel for pixel: `figimage` does not resample.
    figure.figimage(canvas, xo=_LABEL_WIDTH)
    style = {"va": "center", "size": 11}
    for row, pair in enumerate(policy.sub_policies):
        middle = 1 - (_GAP + (_TILE + _GAP) * row + _TILE / 2) / height
        text = "\n".join(
            f"{operation.name:<12} p {operation.probability:.1f}  "
            f"m {operation.magnitude:>2}"
            for operation in pair
        )
        figure.text(0.01, middle, row, color="grey", **style)
        figure.text(40 / width, middle, text, family="monospace", **style)
    figure.savefig(path)
