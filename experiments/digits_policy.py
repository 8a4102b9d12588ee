"""An augmentation policy in AutoAugment's form for the 8 by 8 digits.

It was not found by a search. The policies for ImageNet and CIFAR do not suit
digits: mirrored, inverted or moved by half the image, a digit is another digit
or none. This policy rotates and shears, moves by one pixel and changes the
brightness, and keeps the black background of the digits.
"""

from conadv_tf.data.policies import Policy
from conadv_tf.data.policies import Range

DIGITS = Policy(
    "digits",
    (
        (("Rotate", 0.8, 6), ("Brightness", 0.4, 6)),
        (("Rotate", 0.6, 10), ("TranslateX", 0.4, 10)),
        (("ShearX", 0.8, 6), ("Contrast", 0.4, 6)),
        (("ShearX", 0.6, 10), ("TranslateY", 0.4, 10)),
        (("ShearY", 0.8, 5), ("Brightness", 0.4, 3)),
        (("TranslateX", 0.6, 10), ("TranslateY", 0.6, 10)),
        (("Contrast", 0.8, 3), ("Rotate", 0.4, 4)),
        (("Sharpness", 0.6, 8), ("ShearX", 0.4, 4)),
    ),
    {
        # Units: degrees, slopes, pixels and factors.
        "Rotate": Range(0.0, 20.0, signed=True),
        "ShearX": Range(0.0, 0.3, signed=True),
        "ShearY": Range(0.0, 0.3, signed=True),
        "TranslateX": Range(0.0, 1.0, signed=True),
        "TranslateY": Range(0.0, 1.0, signed=True),
        "Brightness": Range(0.5, 1.0),
        "Contrast": Range(0.5, 1.0),
        "Sharpness": Range(0.1, 1.8),
    },
    fill=0,
)
