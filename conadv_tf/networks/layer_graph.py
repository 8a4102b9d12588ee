"""Inspects the layers of functional networks and how they are called."""

from collections.abc import Iterator
from collections.abc import Sequence
import inspect
from typing import Any
import warnings

import tensorflow as tf

from conadv_tf import keras_3
from conadv_tf import keras_graph
from conadv_tf import keras_internals
from conadv_tf.batch_norm import batch_norm_branch
from conadv_tf.network_checks import name_and_class

# RandomRotation, RandomZoom and similar.
_KERAS_RANDOM_LAYERS = tuple(
    getattr(tf.keras.layers, name)
    for name in dir(tf.keras.layers)
    if name.startswith("Random")
)
# Packages whose layers are known, and have complete configs.
_TRUSTED_PACKAGES = ("conadv_tf", "keras", "tensorflow", "tf_keras")


def check_functional(network: tf.keras.Model) -> None:
    """Raises a ValueError unless `network` is a built functional model."""
    received = type(network).__name__
    if keras_3.is_keras_3(network):
        raise keras_3.refusal(
            "a network of tf.keras",
            f"{received} of Keras 3",
            "Write ca.networks.from_keras_3(network) in place of it",
        )
    if isinstance(network, tf.keras.Model):
        if keras_graph.is_functional(network):
            return
        received = f"{network.name!r} of class {received}"
    raise ValueError(
        "Expected a built functional or Sequential Keras model, whose layers "
        f"are known; received {received}. Write the network with the "
        "functional API, tf.keras.Model(inputs, outputs), or give a "
        "Sequential model an Input layer."
    )


def check_batch_size(network: tf.keras.Model) -> None:
    """Raises a ValueError if a network accepts a single batch size.

    `Input(batch_size=n)` alone does no harm. A layer that reads the size from
    the static shape fails, because a training step joins sub-batches.

    Args:
      network: functional network with one input and one output.
    """
    size, *shape = network.inputs[0].shape
    if size is None:
        return
    spec = tf.TensorSpec([2 * size, *shape], network.inputs[0].dtype)
    try:
        outputs = tf.nest.flatten(
            tf.function(network, autograph=False)
            .get_concrete_function(spec)
            .output_shapes
        )
        problem = f"it returns the shape {outputs[0]}"
        is_right = outputs[0][0] in (None, 2 * size)
    except Exception as error:
        problem, is_right = f"it fails ({type(error).__name__})", False
    if not is_right:
        raise ValueError(
            f"Expected a network for batches of any size; received "
            f"{network.name!r} with Input(batch_size={size}). For {2 * size} "
            f"images, a clean and an adversarial sub-batch, {problem}. Leave "
            "the batch size open: tf.keras.Input(shape), and tf.reshape(x, "
            "(-1, ...)) or tf.keras.layers.Reshape in place of static sizes."
        )


def graph_layers(network: tf.keras.Model) -> Iterator[tf.keras.layers.Layer]:
    """Yields the layers of a network, replacing nested models by theirs."""
    check_functional(network)
    for layer in network.layers:
        if isinstance(layer, tf.keras.Model):
            yield from graph_layers(layer)
        else:
            yield layer


def is_custom(layer: tf.keras.layers.Layer) -> bool:
    """Whether a layer, or one inside, is not defined by Keras."""
    return any(
        type(each).__module__.split(".")[0] not in _TRUSTED_PACKAGES
        or isinstance(each, tf.keras.layers.Lambda)
        for each in keras_internals.flatten_layers(layer)
    )


def layers_without_gradient(network: tf.keras.Model) -> list[str]:
    """Returns names and classes of the layers that block the gradient.

    Each layer is traced alone, because TensorFlow's error names at most the
    operation without a gradient, not the layer.

    Args:
      network: functional Keras model.
    """
    return [
        name_and_class(layer)
        for layer in graph_layers(network)
        if keras_graph.inputs_of(layer) and not _has_gradient(layer)
    ]


def _has_gradient(layer: tf.keras.layers.Layer) -> bool:
    has_gradient = False

    def differentiate(*inputs: tf.Tensor) -> None:
        nonlocal has_gradient
        with tf.GradientTape() as tape:
            tape.watch([each for each in inputs if each.dtype.is_floating])
            outputs = tf.nest.flatten(repeat_first_call(layer, inputs))
        gradients = tape.gradient(outputs, list(inputs))
        has_gradient = any(gradient is not None for gradient in gradients)

    specs = [
        tf.TensorSpec(each.shape, each.dtype)
        for each in keras_graph.inputs_of(layer)
    ]
    try:
        tf.function(differentiate, autograph=False).get_concrete_function(
            *specs
        )
    except LookupError:
        return False
    except Exception:  # A layer that cannot be traced alone is not blamed.
        return True
    return has_gradient


def repeat_first_call(
    layer: tf.keras.layers.Layer, inputs: Sequence[tf.Tensor]
) -> Any:
    """Repeats a layer's first call with other inputs, in training mode."""
    args, kwargs = keras_graph.calls_of(layer)[0].arguments_with(inputs)
    if "training" in inspect.signature(layer.call).parameters:
        kwargs = {"training": True, **kwargs}
    with batch_norm_branch("auxiliary", update_statistics=False):
        return layer(*args, **kwargs)


def warn_of_random_layers(network: tf.keras.Model) -> None:
    """Warns about layers that augment images inside a network to attack.

    Such a layer draws new random numbers in each pass. An image is then
    attacked under one draw and trained on under another, so that much of the
    perturbation is lost. Dropout and noise layers are random too, but they do
    not move pixels.

    Args:
      network: functional Keras model.
    """
    layers = [
        name_and_class(layer)
        for layer in keras_internals.flatten_layers(network)
        if isinstance(layer, _KERAS_RANDOM_LAYERS)
        or _is_from_keras_cv(layer)
        or isinstance(layer, keras_3.Keras3Layer)
        and layer.augments_images()
    ]
    if layers:
        warnings.warn(
            f"Network {network.name!r} augments images inside: "
            f"{', '.join(layers)}. Each pass draws new random numbers, so "
            "that images are attacked under one draw and trained on under "
            "another, and much of the attack is lost. Remove these layers "
            "from the network and augment in the data pipeline: dataset.map("
            "lambda images, labels: (augment(images, training=True), labels))."
        )


def _is_from_keras_cv(layer: tf.keras.layers.Layer) -> bool:
    """Whether a layer is a preprocessing layer of keras-cv, or a subclass."""
    return any(
        base.__module__.startswith("keras_cv.")
        and ".preprocessing" in base.__module__
        for base in type(layer).__mro__
    )
