"""Draws samples of an AutoAugment policy, one row per sub-policy.

    python tools/policy_sheet.py --policy=imagenet --output=sheet.png

Each row shows the operations of a sub-policy with their probabilities and
magnitudes, the photograph, and a few augmented samples. An operation that is
not drawn leaves its sample unchanged, as in training.
"""

import dataclasses
import os
import pathlib
import sys

# Hides TensorFlow's start-up messages; set the variable yourself to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Lets the script run from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags
from matplotlib.figure import Figure
import numpy as np
from PIL import Image
import tensorflow as tf

from conadv_tf.data import auto_augment
from conadv_tf.data import policies
from experiments import command_line

FLAGS = flags.FLAGS
flags.DEFINE_enum("policy", "imagenet", list(policies.POLICIES), "Policy.")
flags.DEFINE_string("output", "policy_sheet.png", "PNG file to write.")
flags.DEFINE_string("image", None, "Image file; by default a flower.")
flags.DEFINE_integer("size", None, "Side of the image in pixels.", 1)
flags.DEFINE_integer("draws", 6, "Samples per sub-policy.", lower_bound=0)
flags.DEFINE_integer("seed", 0, "Seed of the samples.")

# Side of the images that each policy was made for: it translates by pixels.
_SIZES = {"imagenet": 224, "cifar": 32}
# In pixels of the sheet.
_TILE = 112
_GAP = 6
_LABEL_WIDTH = 260
_DOTS_PER_INCH = 100


def main():
    """Reads the flags and writes the sheet."""
    policy = policies.POLICIES[FLAGS.policy]
    image = photograph(FLAGS.image, FLAGS.size or _SIZES[policy.name])
    rows = [
        [image, *samples(image, policy, row, FLAGS.draws, FLAGS.seed)]
        for row in range(len(policy.sub_policies))
    ]
    save(sheet(rows), policy, FLAGS.output)
    print(f"Wrote {FLAGS.output}")


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


if __name__ == "__main__":
    command_line.run_without_arguments(main)
