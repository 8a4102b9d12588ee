"""A contact sheet of an AutoAugment policy: a row for each sub-policy.

    python tools/policy_sheet.py --policy=imagenet --output=sheet.png

Each row shows a sub-policy by its operations, probabilities and magnitudes,
the photograph, and a few draws: what probability leaves unchanged is unchanged
here too.
"""

import argparse
import dataclasses

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
import numpy as np
from PIL import Image
import tensorflow as tf

from conadv_tf.data import auto_augment
from conadv_tf.data import policies

# Side of the images that a policy was made for; translations are in pixels.
_SIZES = {"imagenet": 224, "cifar": 32}
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
    alone = dataclasses.replace(
        policy, sub_policies=(policy.sub_policies[row],)
    )
    augment = tf.function(lambda key: auto_augment(image, key, alone))
    keys = [tf.constant([seed, row * number + i]) for i in range(number)]
    return [image, *(augment(key).numpy() for key in keys)]


def sheet(rows):
    """Tiles in rows on white, uint8 [height, width, 3].

    Args:
      rows: list of lists of uint8 images of one size.
    """
    step = _TILE + _GAP
    canvas = np.full(
        (step * len(rows) + _GAP, step * len(rows[0]) + _GAP, 3), 255, np.uint8
    )
    for i, images in enumerate(rows):
        for j, image in enumerate(images):
            # Small images keep their pixels.
            smooth = len(image) > _TILE
            tile = Image.fromarray(image).resize(
                (_TILE, _TILE), Image.BICUBIC if smooth else Image.NEAREST
            )
            top, left = _GAP + step * i, _GAP + step * j
            canvas[top : top + _TILE, left : left + _TILE] = tile
    return canvas


def save(canvas, policy, path):
    """Writes the sheet with its labels as a PNG, dot for pixel."""
    height, width = canvas.shape[:2]
    figure = plt.figure(
        figsize=(
            (width + _LABEL_WIDTH) / _DOTS_PER_INCH,
            height / _DOTS_PER_INCH,
        ),
        dpi=_DOTS_PER_INCH,
    )
    figure.figimage(canvas, xo=_LABEL_WIDTH)
    step = _TILE + _GAP
    for row, pair in enumerate(policy.sub_policies):
        middle = 1 - (_GAP + step * row + _TILE / 2) / height
        text = "\n".join(_describe(operation) for operation in pair)
        figure.text(0.01, middle, row, va="center", size=11, color="grey")
        figure.text(
            40 / (width + _LABEL_WIDTH),
            middle,
            text,
            va="center",
            size=11,
            family="monospace",
        )
    figure.savefig(path)
    plt.close(figure)


def _describe(operation):
    return (
        f"{operation.name:<12} p {operation.probability:.1f}  "
        f"m {operation.magnitude:>2}"
    )


def main():
    """Reads the flags and writes the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--policy", choices=sorted(policies.POLICIES), default="imagenet"
    )
    parser.add_argument("--output", default="policy_sheet.png")
    parser.add_argument("--image", help="a file; default: a flower")
    parser.add_argument(
        "--size", type=int, help="side of the image that is augmented, pixels"
    )
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    policy = policies.POLICIES[flags.policy]
    image = photograph(flags.image, flags.size or _SIZES[policy.name])
    rows = [
        draws(image, policy, row, flags.draws, flags.seed)
        for row in range(len(policy.sub_policies))
    ]
    save(sheet(rows), policy, flags.output)
    print(f"Wrote {flags.output}")


if __name__ == "__main__":
    main()
