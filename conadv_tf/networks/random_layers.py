"""Layers inside a network that augment its images at random."""

import warnings

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.networks import layer_calls

# RandomRotation, RandomZoom and so on; keras-cv's are told by their module.
_KERAS = tuple(
    getattr(tf.keras.layers, name)
    for name in dir(tf.keras.layers)
    if name.startswith("Random")
)
_KERAS_CV = "keras_cv.", ".preprocessing"


def warn_of_random_layers(network: tf.keras.Model) -> None:
    """Warns of layers that augment images inside the network to attack.

    They draw anew in each pass: an image is attacked under one draw and
    trained on under another, where much of the perturbation is lost. Dropout
    and noise draw too, but leave pixels where they are.

    Args:
      network: functional Keras model.
    """
    layers = [
        layer_calls.described(layer)
        for layer in keras_internals.flatten_layers(network)
        if isinstance(layer, _KERAS) or _is_of_keras_cv(layer)
    ]
    if layers:
        warnings.warn(
            f"Network {network.name!r} augments images inside: "
            f"{', '.join(layers)}. Each pass draws anew, so that images are "
            "attacked under one draw and trained on under another, and much "
            "of the attack is lost. Augment in the data pipeline instead: "
            "dataset.map(lambda images, labels: (augment(images, "
            "training=True), labels)), and leave these layers out of the "
            "network."
        )


def _is_of_keras_cv(layer: tf.keras.layers.Layer) -> bool:
    package, part = _KERAS_CV
    return any(
        kind.__module__.startswith(package) and part in kind.__module__
        for kind in type(layer).__mro__
    )
