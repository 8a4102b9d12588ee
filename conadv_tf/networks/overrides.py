"""Methods and weights of a network that a copy of its layers does not have.

`tf.keras.Model(inputs, outputs)` may be a subclass with a training step, a loss
or a call of its own, and users assign methods and variables to networks and
layers. Training a copy would ignore them.
"""

from collections.abc import Iterable
import itertools
import warnings

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.keras_3 import is_keras_3
from conadv_tf.keras_3 import is_model_of_keras_3
from conadv_tf.network_checks import name_and_class

_Pair = tuple[tf.keras.layers.Layer, tf.keras.layers.Layer]
# Methods of a model that training, evaluation or prediction calls.
_METHODS = (
    "compile",
    "compute_loss",
    "compute_metrics",
    "get_metrics_result",
    "losses",
    "make_predict_function",
    "make_test_function",
    "make_train_function",
    "metrics",
    "predict_step",
    "reset_metrics",
    "test_on_batch",
    "test_step",
    "train_on_batch",
    "train_step",
    "trainable_variables",
    "trainable_weights",
)
_CALLS = ("__call__", "call")
# Methods that users call on a network; they call them on the model instead.
_USER_METHODS = ("evaluate", "fit", "predict", "predict_on_batch")
# Classes of these packages keep Keras's behavior.
_KERAS = ("keras", "tensorflow", "tf_keras")


def check_methods(network: tf.keras.Model) -> None:
    """Raises a ValueError if a network's class replaces methods of Keras.

    `ConAdvModel` has its own training step, and calls the layers of a copy. A
    warning names replaced methods that only users call, such as `predict`.

    Args:
      network: functional Keras model, also of Keras 3.
    """
    package = "keras" if is_keras_3(network) else "tf.keras"
    replaced = [name for name in _METHODS if _is_replaced(network, name)]
    if replaced:
        raise ValueError(
            "Expected a network with Keras's own methods; received "
            f"{name_and_class(network)}, which replaces "
            f"{', '.join(replaced)}. ConAdvModel trains a copy of the layers "
            f"and would ignore that. Pass {package}.Model(network.inputs, "
            "network.outputs) to train without it. compute_loss and "
            "compute_metrics may be overridden in a subclass of ConAdvModel."
        )
    ignored = [name for name in _USER_METHODS if _is_replaced(network, name)]
    if ignored:
        warnings.warn(
            f"{name_and_class(network)} replaces {', '.join(ignored)}. "
            "ConAdvModel trains a copy of its layers and has Keras's own "
            f"{', '.join(ignored)}."
        )
    for model in _models(network):
        own = _own_weights(model)
        if own:
            raise ValueError(
                "Expected a network whose trainable weights belong to its "
                f"layers; received {name_and_class(model)} with the weights "
                f"{', '.join(own)}, which no layer of it has. The copy that is "
                "trained would not have them. Create them in a layer, with "
                "add_weight."
            )
        replaced = [name for name in _CALLS if _is_replaced(model, name)]
        if replaced:
            raise ValueError(
                "Expected models whose layers are called in the order of their "
                f"functional graph; received {name_and_class(model)} in "
                f"{network.name!r}, which replaces {', '.join(replaced)}. Put "
                "these operations into a layer, and call the layer in the "
                "functional graph."
            )


def check_calls(pairs: Iterable[_Pair]) -> None:
    """Raises a ValueError for layers with a call that their copies lack.

    Args:
      pairs: (layer, its copy).
    """
    replaced = [
        name_and_class(old)
        for layers in pairs
        for old, new in zip(*map(keras_internals.flatten_layers, layers))
        if any(
            _is_assigned(old, name) and not _is_assigned(new, name)
            for name in _CALLS
        )
    ]
    if replaced:
        raise ValueError(
            "Expected layers that are called as their classes define; received "
            f"layers to which a `call` was assigned: {', '.join(replaced)}. "
            "The copy that is trained would not have it. Define it in a "
            "subclass of the layer."
        )


def _models(network: tf.keras.Model) -> list[tf.keras.Model]:
    """Returns a network and the models inside it."""
    if is_keras_3(network):
        inside = filter(is_model_of_keras_3, network.layers)
        return [network, *itertools.chain(*map(_models, inside))]
    layers = keras_internals.flatten_layers(network)
    return [each for each in layers if isinstance(each, tf.keras.Model)]


def _own_weights(model: tf.keras.Model) -> list[str]:
    """Returns the names of the trainable weights that are in no layer."""
    in_layers = {
        id(weight) for layer in model.layers for weight in layer.weights
    }
    return [
        weight.name
        for weight in model.trainable_weights
        if id(weight) not in in_layers
    ]


def _is_assigned(layer: tf.keras.layers.Layer, name: str) -> bool:
    """Whether a method of another kind than the class's is assigned.

    Keras assigns a layer's own bound `call` when it saves a SavedModel.
    """
    assigned = vars(layer).get(name)
    function = getattr(assigned, "__func__", assigned)
    return function not in (None, getattr(type(layer), name))


def _is_replaced(layer: tf.keras.layers.Layer, name: str) -> bool:
    """Whether the user, or a class outside of Keras, defines a method."""
    if _is_assigned(layer, name):
        return True
    for cls in type(layer).__mro__:
        if name in vars(cls):
            return cls.__module__.split(".")[0] not in _KERAS
    return False
