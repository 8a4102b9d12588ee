"""Networks with batch norm for tests of the conversion.

They are the networks of this package, every family of tf.keras.applications
that has batch norm, and the backbones of keras-cv. The backbones are built from
keras-cv's generic classes, because its presets need a network connection.
`tests/test_network_battery.py` converts and trains each network, and
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
    """A network with published facts.

    Attributes:
      name: name of the function or class that builds the network.
      build: function from a number of classes to a classifier for small images.
        Because of global pooling it has as many parameters as a classifier for
        large images.
      job: mark of the tests that check the network: "" for none, "slow" for
        continuous integration, "large" for tests that are started by hand.
      reference: published number of parameters for 1000 classes (10 for CIFAR),
        as printed in the source.
      source: publication that gives the number.
    """

    name: str
    build: Callable
    job: str = ""
    reference: str = ""
    source: str = ""


def classifier(function, side=32, **arguments):
    """Returns `Entry.build` for a function of tf.keras.applications."""
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
    """Lists the networks of a module in published.csv.

    Args:
      module: value of the column "module".
      make: function from a row to the name and the builder of its network.
    """
    path = pathlib.Path(__file__).with_name("published.csv")
    return [
        Entry(*make(row), row["job"], row["published"], row["source"])
        for row in csv_file.read(path)
        if row["module"] == module
    ]


OURS = _published("ca.networks", _ours)
APPLICATIONS = _published("tf.keras.applications", _application)


def backbone(name, job="", **arguments):
    """Returns the `Entry` of a small network of a generic keras-cv class."""

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
