"""Models for the tools that measure their training step."""

import re

import tensorflow as tf

import conadv_tf as ca
from experiments.methods import BASE_METHODS
from experiments.methods import METHODS

# What `network` takes, for flags.
NAMES = (
    "resnet_cifarD or resnet_cifarDxW (depth D = 6n + 2, width W), resnetD (D "
    "of 18, 34, 50, 101, 152)"
)
# ConAdv at a fraction of its price: arguments of `ca.ConAdvModel`.
CHEAPER = {
    "quarter": METHODS["conadv_quarter"].settings,
    "eighth": {"adversarial_fraction": 0.125},
    "shared": METHODS["conadv_shared"].settings,
    "shared_instead": METHODS["conadv_shared_instead"].settings,
}
_NUM_CLASSES = {"resnet_cifar": 10, "resnet": 1000}
_EPSILON = 4 / 255
# So small that a network can be trained on noise for long.
_LEARNING_RATE = 0.01


def network(name, image_size):
    """A network by name.

    Args:
      name: see `NAMES`; W is the number of channels of the first stage.
      image_size: height and width of the images.

    Returns:
      Functional Keras model of images with three channels.

    Raises:
      ValueError: if the name is of none of these forms.
    """
    match = re.fullmatch(r"(resnet_cifar|resnet)(\d+)(?:x(\d+))?", name)
    if not match or (match[1] == "resnet" and match[3]):
        raise ValueError(
            "Expected a network like 'resnet50', 'resnet_cifar20' or "
            f"'resnet_cifar20x4' (depth x width); received {name!r}."
        )
    arguments = {"width": int(match[3])} if match[3] else {}
    return getattr(ca.networks, match[1])(
        int(match[2]),
        num_classes=_NUM_CLASSES[match[1]],
        input_shape=(image_size, image_size, 3),
        **arguments,
    )


def paper_attack():
    """One step with a random start."""
    return ca.PGD(_EPSILON, random_start=True)


def optimizer():
    """LARS with momentum and weight decay, which the paper trains with."""
    return ca.LARS(_LEARNING_RATE, momentum=0.9, weight_decay=1e-4)


def compiled(
    model, jit_compile=True, optimizer=optimizer, metrics=("accuracy",)
):
    """Compiles a model for class ids as the paper trains, and returns it."""
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metrics = metrics and list(metrics)
    model.compile(optimizer(), loss, metrics, jit_compile=jit_compile)
    return model


def of_method(method, network, attack=None, **options):
    """A compiled `ConAdvModel`.

    Args:
      method: one of `BASE_METHODS` or of `CHEAPER`.
      network: functional Keras model, images to logits.
      attack: of a method that has one; by default the paper's.
      **options: of `compiled`.
    """
    arguments = CHEAPER.get(method, {})
    tau = BASE_METHODS["conadv" if arguments else method].staleness
    attack = None if tau is None else attack or paper_attack()
    model = ca.ConAdvModel(network, attack, tau, **arguments)
    return compiled(model, **options)


def batch_specs(network, batch_size):
    """TensorSpecs of a batch of images and class ids."""
    return (
        tf.TensorSpec([batch_size, *network.input_shape[1:]], tf.float32),
        tf.TensorSpec([batch_size], tf.int64),
    )
