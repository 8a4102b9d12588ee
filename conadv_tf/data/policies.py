"""AutoAugment policies as data.

Cubuk et al., "AutoAugment: Learning Augmentation Policies from Data", CVPR
2019 (arXiv 1805.09501). A policy has 25 sub-policies of two operations, each an
(operation, probability, magnitude). One sub-policy is drawn for each image.

Magnitudes are 0 to 10. Each policy defines its own ranges for them, because the
two released implementations differ; see `Range` and the tables below.
"""

import dataclasses
import math
from typing import Any
from typing import NamedTuple

MAX_MAGNITUDE = 10
# Operations without an argument; their magnitude is ignored.
WITHOUT_ARGUMENT = ("AutoContrast", "Equalize", "Invert")


class Operation(NamedTuple):
    """One operation of a sub-policy.

    Attributes:
      name: the paper's name, for example "ShearX".
      probability: probability that it is applied, 0 to 1.
      magnitude: strength, a whole number from 0 to 10.
    """

    name: str
    probability: float
    magnitude: int


@dataclasses.dataclass(frozen=True)
class Range:
    """Maps a magnitude to an operation's argument.

    The argument is max(minimum, start + span * magnitude / 10).

    Attributes:
      start: argument at magnitude 0.
      span: change of the argument from magnitude 0 to 10.
      minimum: lower bound of the argument.
      integer: whether span * magnitude / 10 is truncated towards zero.
      signed: whether the sign of the argument is drawn for each image.
    """

    start: float
    span: float
    minimum: float = -math.inf
    integer: bool = False
    signed: bool = False

    def argument(self, magnitude: int) -> float:
        """Returns the argument, a float, for a magnitude from 0 to 10."""
        change = self.span * magnitude / MAX_MAGNITUDE
        change = int(change) if self.integer else change
        return float(max(self.start + change, self.minimum))


_NO_ARGUMENT = Range(0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Policy:
    """Sub-policies, and the ranges that their magnitudes refer to.

    Attributes:
      name: name of the policy in error messages.
      sub_policies: tuple of pairs of operations, each an `Operation` or a plain
        (name, probability, magnitude).
      ranges: dict from the name of each operation with an argument to its
        `Range`. Valid operations are its keys and `WITHOUT_ARGUMENT`.
      fill: grey level of pixels from outside the image.

    Raises:
      ValueError: if there is no sub-policy, one is not a pair, a name is
        unknown, a probability is not in [0, 1] or a magnitude not a whole
        number from 0 to 10.
    """

    name: str
    sub_policies: tuple[tuple[Any, ...], ...]
    ranges: dict[str, Range]
    fill: int = 128

    def __post_init__(self) -> None:
        if not self.sub_policies:
            raise ValueError(
                f"Expected at least one sub-policy in policy {self.name!r}; "
                "received none."
            )
        pairs = tuple(
            tuple(Operation(*operation) for operation in pair)
            for pair in self.sub_policies
        )
        object.__setattr__(self, "sub_policies", pairs)
        for index, pair in enumerate(pairs):
            where = f"sub-policy {index} of policy {self.name!r}"
            if len(pair) != 2:
                raise ValueError(
                    f"Expected two operations in {where}; received {pair}."
                )
            for operation in pair:
                self._check(operation, where)

    def _check(self, operation: Operation, where: str) -> None:
        name, probability, magnitude = operation
        known = sorted({*self.ranges, *WITHOUT_ARGUMENT})
        is_magnitude = magnitude in range(MAX_MAGNITUDE + 1)
        for is_valid, expected in (
            (name in known, f"an operation among {known}"),
            (0 <= probability <= 1, "a probability from 0 to 1"),
            (is_magnitude, f"a whole magnitude from 0 to {MAX_MAGNITUDE}"),
        ):
            if not is_valid:
                raise ValueError(
                    f"Expected {expected} in {where}; received {operation}."
                )

    def argument(self, operation: Operation) -> float:
        """Returns the argument of an `Operation`; 0.0 if it takes none."""
        values = self.ranges.get(operation.name, _NO_ARGUMENT)
        return values.argument(operation.magnitude)

    def is_signed(self, operation: Operation) -> bool:
        """Returns whether the sign of the operation's argument is drawn."""
        return self.ranges.get(operation.name, _NO_ARGUMENT).signed


# Ranges that both policies share: slopes, and factors of PIL.ImageEnhance from
# 0.1 (nearly degenerate) over 1 (unchanged) to 1.9.
_COMMON_RANGES = {
    "Brightness": Range(0.1, 1.8),
    "Color": Range(0.1, 1.8),
    "Contrast": Range(0.1, 1.8),
    "Sharpness": Range(0.1, 1.8),
    "ShearX": Range(0.0, 0.3, signed=True),
    "ShearY": Range(0.0, 0.3, signed=True),
}

# Posterize: bits kept; Solarize: first grey level inverted; SolarizeAdd: grey
# levels added; TranslateX/Y: pixels (constant 250); Rotate: degrees; Cutout:
# half the side of the square in pixels (constant 100). Three details look wrong
# but equal the released code. Stronger Posterize and Solarize change *less*.
# Posterize keeps at least one bit, because TensorFlow shifts a byte by 7 at
# most. Pixels do not depend on the image's size: TranslateY of magnitude 9
# moves by 225 pixels, which leaves nothing of a 224-pixel image.
_IMAGENET_RANGES = {
    **_COMMON_RANGES,
    "Cutout": Range(0, 100, integer=True),
    "Posterize": Range(0, 4, minimum=1, integer=True),
    "Rotate": Range(0.0, 30.0, signed=True),
    "Solarize": Range(0, 256, integer=True),
    "SolarizeAdd": Range(0, 110, integer=True),
    "TranslateX": Range(0.0, 250.0, signed=True),
    "TranslateY": Range(0.0, 250.0, signed=True),
}

# The same units. Translations are for 32-pixel images. Posterize and Solarize
# run in the opposite direction, to fewer bits and a lower threshold. Cutout has
# a side of 20 pixels, of which this is half.
_CIFAR_RANGES = {
    **_COMMON_RANGES,
    "Cutout": Range(0, 10, integer=True),
    "Posterize": Range(4, -4, integer=True),
    "Rotate": Range(0, 30, integer=True, signed=True),
    "Solarize": Range(256, -256, integer=True),
    "TranslateX": Range(0, 10, integer=True, signed=True),
    "TranslateY": Range(0, 10, integer=True, signed=True),
}

# Policy "v0" of the released TPU code (autoaugment.py of
# tensorflow/tpu/models/official/efficientnet, kept as AutoAugment.policy_v0 in
# official/vision/ops/augment.py of the TensorFlow Model Garden). It differs
# from the policy printed in the paper's Table 9, which has other operations.
IMAGENET = Policy(
    "imagenet",
    (
        (("Equalize", 0.8, 1), ("ShearY", 0.8, 4)),
        (("Color", 0.4, 9), ("Equalize", 0.6, 3)),
        (("Color", 0.4, 1), ("Rotate", 0.6, 8)),
        (("Solarize", 0.8, 3), ("Equalize", 0.4, 7)),
        (("Solarize", 0.4, 2), ("Solarize", 0.6, 2)),
        (("Color", 0.2, 0), ("Equalize", 0.8, 8)),
        (("Equalize", 0.4, 8), ("SolarizeAdd", 0.8, 3)),
        (("ShearX", 0.2, 9), ("Rotate", 0.6, 8)),
        (("Color", 0.6, 1), ("Equalize", 1.0, 2)),
        (("Invert", 0.4, 9), ("Rotate", 0.6, 0)),
        (("Equalize", 1.0, 9), ("ShearY", 0.6, 3)),
        (("Color", 0.4, 7), ("Equalize", 0.6, 0)),
        (("Posterize", 0.4, 6), ("AutoContrast", 0.4, 7)),
        (("Solarize", 0.6, 8), ("Color", 0.6, 9)),
        (("Solarize", 0.2, 4), ("Rotate", 0.8, 9)),
        (("Rotate", 1.0, 7), ("TranslateY", 0.8, 9)),
        (("ShearX", 0.0, 0), ("Solarize", 0.8, 4)),
        (("ShearY", 0.8, 0), ("Color", 0.6, 4)),
        (("Color", 1.0, 0), ("Rotate", 0.6, 2)),
        (("Equalize", 0.8, 4), ("Equalize", 0.0, 8)),
        (("Equalize", 1.0, 4), ("AutoContrast", 0.6, 2)),
        (("ShearY", 0.4, 7), ("SolarizeAdd", 0.6, 7)),
        (("Posterize", 0.8, 2), ("Solarize", 0.6, 10)),
        (("Solarize", 0.6, 8), ("Equalize", 0.6, 1)),
        (("Color", 0.8, 6), ("Rotate", 0.4, 5)),
    ),
    _IMAGENET_RANGES,
)

# The paper's policy for CIFAR-10 (Table 7) with the ranges of the released code
# (tensorflow/models/research/autoaugment, augmentation_transforms.py).
CIFAR = Policy(
    "cifar",
    (
        (("Invert", 0.1, 7), ("Contrast", 0.2, 6)),
        (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
        (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
        (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
        (("AutoContrast", 0.5, 8), ("Equalize", 0.9, 2)),
        (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
        (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
        (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
        (("Equalize", 0.6, 5), ("Equalize", 0.5, 1)),
        (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
        (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
        (("Equalize", 0.3, 7), ("AutoContrast", 0.4, 8)),
        (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
        (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
        (("Solarize", 0.5, 2), ("Invert", 0.0, 3)),
        (("Equalize", 0.2, 0), ("AutoContrast", 0.6, 0)),
        (("Equalize", 0.2, 8), ("Equalize", 0.6, 4)),
        (("Color", 0.9, 9), ("Equalize", 0.6, 6)),
        (("AutoContrast", 0.8, 4), ("Solarize", 0.2, 8)),
        (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
        (("Solarize", 0.4, 5), ("AutoContrast", 0.9, 3)),
        (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
        (("AutoContrast", 0.9, 2), ("Solarize", 0.8, 3)),
        (("Equalize", 0.8, 8), ("Invert", 0.1, 3)),
        (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, 1)),
    ),
    _CIFAR_RANGES,
)

POLICIES = {policy.name: policy for policy in (IMAGENET, CIFAR)}
