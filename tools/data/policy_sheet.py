"""Draws a policy: a row for each sub-policy; see tools/policy_sheet.py."""

import dataclasses

from matplotlib.figure import Figure
import numpy as np
from PIL import Image
import tensorflow as tf

from conadv_tf.data import auto_augment

_TILE = 112  # Side of a tile of the sheet, pixels.
_GAP = 6
_LABEL_WIDTH = 260
_DOTS_PER_INCH = 100


def photograph(path, size):
    """The central square of an image file, uint8 [size, size, 3].

    Args:
      path: file, or None for scikit-learn's flower.
      size: pixels.
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


def draws(image, policy, row, number, seed):
    """The image, then draws from one sub-policy; list of uint8 images."""
    pairs = (policy.sub_policies[row],)
    alone = dataclasses.replace(policy, sub_policies=pairs)
    augment = tf.function(lambda key: auto_augment(image, key, alone))
    keys = [tf.constant([seed, row * number + i]) for i in range(number)]
    return [image, *(augment(key).numpy() for key in keys)]


def sheet(rows):
    """Tiles of rows of uint8 images on white, uint8 [height, width, 3]."""
    # A gap above and left of each tile, and around all of them.
    lines = [np.concatenate([_tile(i) for i in row], axis=1) for row in rows]
    return _padded(np.concatenate(lines), (0, _GAP))


def _tile(image):
    # Small images keep their pixels.
    method = Image.BICUBIC if len(image) > _TILE else Image.NEAREST
    tile = Image.fromarray(image).resize((_TILE, _TILE), method)
    return _padded(np.asarray(tile), (_GAP, 0))


def _padded(image, width):
    return np.pad(image, (width, width, (0, 0)), constant_values=255)


def save(canvas, policy, path):
    """Writes a `sheet` with the policy's labels as a PNG, dot for pixel."""
    height, width = canvas.shape[:2]
    width += _LABEL_WIDTH
    inches = width / _DOTS_PER_INCH, height / _DOTS_PER_INCH
    figure = Figure(inches, dpi=_DOTS_PER_INCH)
    figure.figimage(canvas, xo=_LABEL_WIDTH)
    for row, pair in enumerate(policy.sub_policies):
        middle = 1 - (_GAP + (_TILE + _GAP) * row + _TILE / 2) / height
        text = "\n".join(
            f"{operation.name:<12} p {operation.probability:.1f}  "
            f"m {operation.magnitude:>2}"
            for operation in pair
        )
        style = {"va": "center", "size": 11}
        figure.text(0.01, middle, row, color="grey", **style)
        figure.text(40 / width, middle, text, family="monospace", **style)
    figure.savefig(path)
