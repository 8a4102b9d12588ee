"""A contact sheet of an AutoAugment policy: a row for each sub-policy.

    python tools/policy_sheet.py --policy=imagenet --output=sheet.png

Each row shows a sub-policy by its operations, probabilities and magnitudes,
the photograph, and a few draws: what probability leaves unchanged is unchanged
here too.
"""

import argparse
import os
import pathlib
import sys

# TensorFlow's start-up messages are noise here; set it yourself to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Runs as a script from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from conadv_tf.data import policies
from tools.data import policy_sheet

# Side of the images that a policy was made for; translations are in pixels.
_SIZES = {"imagenet": 224, "cifar": 32}


def main():
    """Reads the flags and writes the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = sorted(policies.POLICIES)
    parser.add_argument("--policy", choices=names, default="imagenet")
    parser.add_argument("--output", default="policy_sheet.png")
    parser.add_argument("--image", help="a file; default: a flower")
    parser.add_argument("--size", type=int, help="side of the image, pixels")
    parser.add_argument("--draws", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    policy = policies.POLICIES[flags.policy]
    size = flags.size or _SIZES[policy.name]
    image = policy_sheet.photograph(flags.image, size)
    rows = [
        policy_sheet.draws(image, policy, row, flags.draws, flags.seed)
        for row in range(len(policy.sub_policies))
    ]
    policy_sheet.save(policy_sheet.sheet(rows), policy, flags.output)
    print(f"Wrote {flags.output}")


if __name__ == "__main__":
    main()
