"""Builds the models whose training step the tools measure."""

import re

import tensorflow as tf

import conadv_tf as ca
from experiments import build
from tools.step.methods import METHODS

_NUM_CLASSES = {"resnet_cifar": 10, "resnet": 1000}
_EPSILON = 4 / 255
# Small enough that a network can be trained on noise for long.
_LEARNING_RATE = 0.01


def network(name, image_size):
    """Builds a network by name.

    Args:
      name: a name as in `methods.NETWORK_HELP`; W is the number of channels of
        the first stage.
      image_size: height and width of the images.

    Returns:
      Functional Keras model for images with three channels.

    Raises:
      ValueError: if the name has none of these forms.
    """
    if name == "mobilenet_v2":
        return tf.keras.applications.MobileNetV2(
            input_shape=(image_size, image_size, 3),
            weights=None,
            classes=_NUM_CLASSES["resnet"],
            classifier_activation=None,
        )
    match = re.fullmatch(r"(resnet_cifar|resnet)(\d+)(?:x(\d+))?", name)
    if not match or (match[1] == "resnet" and match[3]):
        raise ValueError(
            "Expected a network like 'resnet50', 'resnet_cifar20', "
            "'resnet_cifar20x4' (depth x width) or 'mobilenet_v2'; received "
            f"{name!r}."
        )
    arguments = {"width": int(match[3])} if match[3] else {}
    return getattr(ca.networks, match[1])(
        int(match[2]),
        num_classes=_NUM_CLASSES[match[1]],
        input_shape=(image_size, image_size, 3),
        **arguments,
    )


def paper_attack():
    """Returns the attack of the paper: one step from a random start."""
    return ca.PGD(_EPSILON, random_start=True)


def optimizer():
    """Returns the optimizer of the paper: LARS with momentum and decay."""
    return ca.LARS(_LEARNING_RATE, momentum=0.9, weight_decay=1e-4)


def compiled(
    model, jit_compile=True, optimizer=optimizer, metrics=("accuracy",)
):
    """Compiles a model for class ids and returns it.

    Args:
      model: Keras model from images to logits.
      jit_compile: whether XLA compiles the training step.
      optimizer: function that makes the optimizer; by default the paper's.
      metrics: sequence of metrics, or None.
    """
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metrics = metrics and list(metrics)
    model.compile(optimizer(), loss, metrics, jit_compile=jit_compile)
    return model


def of_method(method, network, attack=None, **options):
    """Builds the compiled `ConAdvModel` of a method.

    Args:
      method: a key of `methods.METHODS`.
      network: functional Keras model from images to logits.
      attack: attack of an adversarial method; by default the paper's.
      **options: keyword arguments of `compiled`.
    """
    method = METHODS[method]
    attack = (attack or paper_attack()) if method.step.requires_attack else None
    step = build.step(method.step)
    model = ca.ConAdvModel(network, attack, step=step)
    return compiled(model, **options)


def batch_specs(network, batch_size):
    """Returns the TensorSpecs of a batch of images and class ids."""
    return (
        tf.TensorSpec([batch_size, *network.input_shape[1:]], tf.float32),
        tf.TensorSpec([batch_size], tf.int64),
    )
