"""Networks that only tests want: shrunk ones, and ones that are refused."""

import sys

import tensorflow as tf

from tools.networks import zoo


def _shrunk(name, application, job="", **arguments):
    """A member with fewer blocks, by the function that makes all members."""
    # Not a public name of Keras; the public ones are in its module.
    module = getattr(tf.keras.applications, application).__module__
    function = getattr(sys.modules[module], name)
    return zoo.Entry(
        f"{name} (shrunk)", zoo.classifier(function, **arguments), job
    )


# Families whose smallest member takes minutes with the other tests.
SHRUNK = [
    _shrunk("DenseNet", "DenseNet121", blocks=[2, 2, 2, 2]),
    _shrunk(
        "NASNet",
        "NASNetMobile",
        job="slow",
        penultimate_filters=1056,
        num_blocks=1,
        stem_block_filters=32,
        skip_reduction=False,
    ),
    _shrunk(
        "ResNetRS",
        "ResNetRS50",
        depth=50,
        block_args=[
            {"input_filters": 64, "num_repeats": 1},
            {"input_filters": 128, "num_repeats": 2},
        ],
    ),
    _shrunk(
        "RegNet",
        "RegNetY002",
        job="slow",
        depths=[1, 1, 2, 1],
        widths=[24, 56, 152, 368],
        group_width=8,
        block_type="Y",
        default_size=224,
    ),
]

# Their blocks are layers that hold batch norms: refused, with the names.
REFUSED = [
    zoo.backbone(
        "EfficientNetV2Backbone",
        **zoo.SQUEEZED,
        stackwise_conv_types=["fused", "unfused"],
    ),
    zoo.backbone(
        "CSPDarkNetBackbone",
        stackwise_channels=[16, 32],
        stackwise_depth=[1, 1],
    ),
]
