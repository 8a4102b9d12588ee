"""Networks with batch norm that the conversion is checked on.

Ours, every family of tf.keras.applications that has batch norm, and the
backbones of keras-cv, built from its generic classes: its named ones reach for
the network. `tests/test_network_battery.py` converts and trains each;
tools/network_table.py prints them.
"""

from collections.abc import Callable
import dataclasses
import pathlib

import tensorflow as tf

import conadv_tf as ca
from conadv_tf import csv_file


@dataclasses.dataclass(frozen=True)
class Entry:
    """A network and what is known of it."""

    name: str  # Of the function or class that builds it.
    # From a number of classes to a classifier for small images. Global pooling
    # makes the number of parameters that of large images.
    build: Callable
    # Which tests check it: "" all of them, "slow" those of continuous
    # integration, "large" those that somebody starts by hand.
    job: str = ""
    # Published parameters for 1000 classes (10 for CIFAR), as printed there.
    reference: str = ""
    source: str = ""  # Where.


def classifier(function, side=32, **arguments):
    """`Entry.build` of a function of keras.applications."""
    return lambda classes: function(
        weights=None,
        classes=classes,
        classifier_activation=None,
        input_shape=(side, side, 3),
        **arguments,
    )


def _application(row):
    function = getattr(tf.keras.applications, row["name"])
    return row["name"], classifier(function, int(row["side"]))


def _ours(row):
    depth = [int(row["depth"])] if row["depth"] else []
    function = getattr(ca.networks, row["name"])
    return (
        f"ca.networks.{row['name']}" + "".join(f"({each})" for each in depth),
        lambda classes: function(
            *depth, num_classes=classes, input_shape=(32, 32, 3)
        ),
    )


def _published(module, make):
    """What published.csv has of a module; `make` gives name and builder."""
    path = pathlib.Path(__file__).with_name("published.csv")
    return [
        Entry(*make(row), row["job"], row["published"], row["source"])
        for row in csv_file.read(path)
        if row["module"] == module
    ]


OURS = _published("ca.networks", _ours)
APPLICATIONS = _published("tf.keras.applications", _application)


def backbone(name, job="", **arguments):
    """A small network of a generic class of keras-cv."""

    def build(classes):
        import keras_cv

        layers = getattr(keras_cv.models, name)(
            include_rescaling=False, input_shape=(32, 32, 3), **arguments
        )
        inputs = tf.keras.Input((32, 32, 3))
        x = tf.keras.layers.GlobalAveragePooling2D()(layers(inputs))
        return tf.keras.Model(inputs, tf.keras.layers.Dense(classes)(x))

    return Entry(f"keras_cv.models.{name} (small)", build, job)


_STACKS = {
    "stackwise_filters": [16, 32],
    "stackwise_blocks": [2, 2],
    "stackwise_strides": [1, 2],
}
_INVERTED = {
    "stackwise_kernel_sizes": [3, 5],
    "stackwise_num_repeats": [1, 2],
    "stackwise_input_filters": [32, 16],
    "stackwise_output_filters": [16, 24],
    "stackwise_expansion_ratios": [1, 6],
    "stackwise_strides": [1, 2],
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
}
SQUEEZED = {**_INVERTED, "stackwise_squeeze_and_excite_ratios": [0.25, 0.25]}

KERAS_CV = [
    backbone("ResNetBackbone", **_STACKS),
    backbone("ResNetV2Backbone", **_STACKS),
    backbone("DenseNetBackbone", stackwise_num_repeats=[2, 2]),
    backbone("EfficientNetV1Backbone", **SQUEEZED),
    backbone("EfficientNetLiteBackbone", **_INVERTED),
    backbone(
        "MobileNetV3Backbone",
        stackwise_expansion=[1, 4],
        stackwise_filters=[16, 24],
        stackwise_kernel_size=[3, 5],
        stackwise_stride=[2, 1],
        stackwise_se_ratio=[0.25, None],
        stackwise_activation=["relu", "hard_swish"],
    ),
    backbone(
        "YOLOV8Backbone",
        job="slow",
        stackwise_channels=[16, 32, 48, 64],
        stackwise_depth=[1, 1, 1, 1],
    ),
]
