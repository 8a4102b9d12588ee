"""Draws samples of an AutoAugment policy, one row per sub-policy.

    python tools/policy_sheet.py --policy=imagenet --output=sheet.png

Each row shows the operations of a sub-policy with their probabilities and
magnitudes, the photograph, and a few augmented samples. An operation that is
not drawn leaves its sample unchanged, as in training.
"""

import pathlib
import sys

# Lets the script run from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from experiments import command_line
from experiments import log_filter

# Side of the images that each policy was made for: it translates by pixels.
_SIZES = {"imagenet": 224, "cifar": 32}

FLAGS = flags.FLAGS
flags.DEFINE_enum("policy", "imagenet", list(_SIZES), "Policy.")
flags.DEFINE_string("output", "policy_sheet.png", "PNG file to write.")
flags.DEFINE_string("image", None, "Image file; by default a flower.")
flags.DEFINE_integer("size", None, "Side of the image in pixels.", 1)
flags.DEFINE_integer("draws", 6, "Samples per sub-policy.", lower_bound=0)
flags.DEFINE_integer("seed", 0, "Seed of the samples.")


def main():
    """Writes the sheet."""
    log_filter.start()
    from tools.pipelines import sheet

    size = FLAGS.size or _SIZES[FLAGS.policy]
    sheet.draw(
        *(FLAGS.policy, FLAGS.image, size, FLAGS.draws, FLAGS.seed),
        FLAGS.output,
    )
    print(f"Wrote {FLAGS.output}")


if __name__ == "__main__":
    command_line.run_without_arguments(main)
