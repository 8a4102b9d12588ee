"""Networks with batch norm that the conversion is checked on.

Ours, every family of tf.keras.applications that has batch norm, and the
backbones of keras-cv, built from its generic classes: its named ones reach for
the network. `tests/test_network_battery.py` converts and trains each;
tools/network_table.py prints them.
"""

import dataclasses
import pathlib
from typing import Callable

import tensorflow as tf

import conadv_tf as ca
from conadv_tf import csv_file

_HE = "He et al. 2015, table 6"
_TORCHVISION = "torchvision"


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


# --- Ours -------------------------------------------------------------------


def _ours(name, reference, source, job="large", **arguments):
    def build(classes):
        return getattr(ca.networks, name)(
            **arguments, num_classes=classes, input_shape=(32, 32, 3)
        )

    depth = "".join(f"({value})" for value in arguments.values())
    return Entry(f"ca.networks.{name}{depth}", build, job, reference, source)


OURS = [
    _ours("resnet", "11,689,512", _TORCHVISION, "", depth=18),
    _ours("resnet", "21,797,672", _TORCHVISION, depth=34),
    _ours("resnet50", "25,557,032", f"MLPerf, {_TORCHVISION}", "slow"),
    _ours("resnet", "44,549,160", _TORCHVISION, depth=101),
    _ours("resnet", "60,192,808", _TORCHVISION, depth=152),
    _ours("resnet_cifar", "0.27M", _HE, "", depth=20),
    _ours("resnet_cifar", "0.46M", _HE, depth=32),
    _ours("resnet_cifar", "0.66M", _HE, depth=44),
    _ours("resnet_cifar", "0.85M", _HE, depth=56),
    _ours("efficientnet_b0", "5,330,571", "keras.applications", "slow"),
    _ours("efficientnet_b1", "7,856,239", "keras.applications"),
    _ours("efficientnet_b2", "9,177,569", "keras.applications", "slow"),
    _ours("efficientnet_b3", "12,320,535", "keras.applications"),
]


# --- tf.keras.applications --------------------------------------------------


def classifier(function, side=32, **arguments):
    """`Entry.build` of a function of keras.applications."""
    return lambda classes: function(
        weights=None,
        classes=classes,
        classifier_activation=None,
        input_shape=(side, side, 3),
        **arguments,
    )


# What is published, and the smallest images that each takes.
_TABLE = pathlib.Path(__file__).with_name("applications.csv")
APPLICATIONS = [
    Entry(
        row["name"],
        classifier(
            getattr(tf.keras.applications, row["name"]), int(row["side"])
        ),
        row["job"],
        row["published"],
        row["source"],
    )
    for row in csv_file.read(_TABLE)
]


# --- keras-cv ---------------------------------------------------------------


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
