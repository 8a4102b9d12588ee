"""Creates a layer of one Keras from the config of the other's layer.

Keras 3 and Keras 2 (tf_keras) have mostly the same layers with the same
arguments. A layer is created only if nothing that differs is in its config.
"""

import inspect
import textwrap
from typing import Any
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf.network_checks import name_and_class
from conadv_tf.types import Config

# Arguments with another name in Keras 2.
_RENAMED = {
    ("LeakyReLU", "negative_slope"): "alpha",
    ("LeakyReLU", "alpha"): "negative_slope",
}
# Functions with another name in Keras 2.
_ACTIVATIONS = {"silu": "swish"}
# Arguments of Keras 2 without effect on the outputs.
_UNUSED = (
    "batch_input_shape",
    "implementation",
    "key_shape",
    "query_shape",
    "rng_type",
    "value_shape",
)
# The package of the class of a nested config, by the end of its module.
_PARTS = ("constraints", "initializers", "layers", "regularizers")


class NoEquivalentError(ValueError):
    """The other Keras has no layer that computes the same."""


def equivalent_layer(layer: Any, ours: Any, theirs: Any) -> Any:
    """Creates the layer of another Keras that computes what a layer computes.

    Args:
      layer: layer that is not a model.
      ours: the module keras of the layer.
      theirs: the module keras of the result.

    Returns:
      A new layer of the same name, without weights.

    Raises:
      NoEquivalentError: if there is none.
    """
    name = type(layer).__name__
    cls = getattr(theirs.layers, name, None)
    if cls is None or getattr(ours.layers, name, None) is not type(layer):
        raise NoEquivalentError(f"there is no layer {name}")
    config = layer.get_config()
    config.pop("trainable", None)  # Copied with the weights.
    if name.startswith("SeparableConv"):
        # Keras 2 inherits it, and uses one for each of two kernels.
        config.pop("kernel_initializer", None)
    config = _translate(config, type(layer), cls, ours, theirs)
    try:
        return cls.from_config(config)
    except Exception as error:
        # Keras 3 begins its error with the whole config.
        raise NoEquivalentError(str(error).splitlines()[-1]) from error


def refusal(layer: Any, reason: str) -> ValueError:
    """Returns an error for a layer that cannot be converted."""
    reason = textwrap.shorten(reason, 400).rstrip(".")
    return ValueError(
        "Expected a network whose layers both Keras 3 and tf_keras can build "
        f"from their configs; received layer {name_and_class(layer)}, which "
        f"cannot be converted: {reason}. Use a layer of "
        "keras.layers, or a class that is registered with "
        "keras.saving.register_keras_serializable and has a get_config."
    )


def _policy_name(dtype: Any) -> str:
    """Returns the name of a dtype policy from its value in a config."""
    if isinstance(dtype, dict):
        if dtype["class_name"] not in ("DTypePolicy", "Policy"):
            raise NoEquivalentError(f"there is no {dtype['class_name']}")
        return dtype["config"]["name"]
    return str(dtype)


def _translate(
    config: Config, our_class: type, their_class: type, ours: Any, theirs: Any
) -> Config:
    """Translates the arguments of a constructor.

    Raises:
      NoEquivalentError: if an argument that matters is unknown or has another
        meaning.
    """
    accepted = {"dtype", "name", *_parameters(their_class)}
    translated: Config = {}
    for key, value in config.items():
        name = _RENAMED.get((their_class.__name__, key), key)
        if key == "activity_regularizer" and value is not None:
            # Some versions of Keras 3 do not divide it by the batch size.
            raise NoEquivalentError(f"{key} may have another scale")
        if key in _UNUSED:
            continue
        if name not in accepted:
            default = _parameters(our_class).get(key)
            # Layers without the argument have the channels last.
            if value not in (None, False, default, "channels_last"):
                raise NoEquivalentError(f"there is no argument {key}={value!r}")
        elif key == "dtype":
            translated[name] = _policy_name(value)
        elif key == "axis" and isinstance(value, list) and len(value) == 1:
            translated[name] = value[0]  # Of a batch norm in Keras 2.
        elif key.endswith("activation"):
            translated[name] = _activation(value, ours, theirs)
        else:
            translated[name] = _nested(value, ours, theirs)
    return translated


def _nested(value: Any, ours: Any, theirs: Any) -> Any:
    """Translates a value of a config, which may hold the config of an object.

    Raises:
      NoEquivalentError: if the other Keras does not have its class.
    """
    if isinstance(value, (list, tuple)):
        # Keras 2 has lists in classes that cannot be created.
        kind = tuple if isinstance(value, tuple) else list
        return kind(_nested(each, ours, theirs) for each in value)
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    name = value["class_name"]
    part = str(value.get("module")).rpartition(".")[2]
    our_class, their_class = (
        getattr(getattr(keras, part), name, None) if part in _PARTS else None
        for keras in (ours, theirs)
    )
    if (
        our_class is None
        or their_class is None
        or value.get("registered_name") not in (None, name)
    ):
        raise NoEquivalentError(f"there is no {name}")
    config = _translate(value["config"], our_class, their_class, ours, theirs)
    return {**value, "config": config}


def _activation(value: Any, ours: Any, theirs: Any) -> Optional[str]:
    """Returns the name of an activation function of the other Keras.

    Raises:
      NoEquivalentError: if it has none that computes the same.
    """
    if value is None:
        return None
    name = value if isinstance(value, str) else ""
    function = getattr(theirs.activations, _ACTIVATIONS.get(name, name), None)
    if function is None:
        raise NoEquivalentError(f"there is no activation function {value!r}")
    # hard_sigmoid has one name and two formulas.
    values = tf.reshape(tf.linspace(-10.0, 10.0, 401), [1, -1])
    one, other = (
        np.asarray(f(values)) for f in (ours.activations.get(name), function)
    )
    if not np.allclose(one, other, atol=1e-6):
        raise NoEquivalentError(f"{name} has another formula")
    return function.__name__


def _parameters(cls: type) -> dict[str, Any]:
    """Returns {argument of a constructor: default}.

    Arguments of a base class are included if the constructor passes others on.
    """
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(vars(base)["__init__"]).parameters
        for name, parameter in parameters.items():
            found.setdefault(name, parameter.default)
        kinds = [parameter.kind for parameter in parameters.values()]
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return found
