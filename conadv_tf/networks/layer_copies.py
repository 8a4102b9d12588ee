"""Copies single layers, with the state that their configs omit."""

import types
import warnings

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.batch_norm import batch_norm_config
from conadv_tf.batch_norm import SplitBatchNormalization
from conadv_tf.network_checks import name_and_class
from conadv_tf.types import Config


def copy_layer(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
    """Creates a layer from another's config, without copying weights.

    Raises:
      ValueError: if the layer's class does not accept its config.
    """
    if type(layer) is tf.keras.layers.BatchNormalization:
        return type(layer)(**batch_norm_config(layer))
    try:
        return type(layer).from_config(_config(layer))
    except Exception as error:
        problem = error
    # Keras does not serialize lambdas and other unregistered functions.
    functions = {
        name: value
        for name, value in vars(layer).items()
        if isinstance(value, types.FunctionType)
    }
    try:
        config = _config(layer)
        live = {name: functions[name] for name in config if name in functions}
        return type(layer).from_config({**config, **live})
    except Exception:
        raise ValueError(
            f"Layer {name_and_class(layer)} cannot be copied, because its "
            "`from_config` does not accept the result of its `get_config`: "
            f"{' '.join(str(problem).split())} The model trains a copy of the "
            "network. Return the arguments of the constructor from "
            "`get_config`. If the network comes from a SavedModel, load it "
            "with the layer's class: tf.keras.models.load_model(path, "
            "custom_objects={name: layer_class})."
        ) from problem


def _config(layer: tf.keras.layers.Layer) -> Config:
    with warnings.catch_warnings():
        # Keras warns of functions that a file cannot contain.
        warnings.filterwarnings("ignore", "(?s).*seriali")
        return layer.get_config()


def copy_state(
    network: tf.keras.Model, copy: tf.keras.Model, with_weights: bool
) -> None:
    """Copies flags, activity regularizers and weights of all layers.

    A branch of a split batch norm gets the weights of the batch norm.

    Args:
      network: functional Keras model.
      copy: its copy, layer by layer.
      with_weights: whether to copy weights.

    Raises:
      ValueError: if a layer has other weights than its copy.
    """
    # Parents before children: setting a model's flag sets its layers' flags.
    copy.trainable = network.trainable
    for old, new in zip(network.layers, copy.layers):
        if new is old:
            continue
        if isinstance(old, tf.keras.Model):
            copy_state(old, new, with_weights)
            continue
        _copy_attributes(old, new)
        if type(new) is type(old):
            # The layer inside a wrapper has separate attributes.
            for inside, inside_copy in zip(
                keras_internals.flatten_layers(old, include_self=False),
                keras_internals.flatten_layers(new, include_self=False),
            ):
                _copy_attributes(inside, inside_copy)
        if not (with_weights and old.weights):
            continue
        was_split, is_split = (
            isinstance(layer, SplitBatchNormalization) for layer in (old, new)
        )
        source = old.branch_layers[0] if was_split and not is_split else old
        targets = new.branch_layers if is_split and not was_split else [new]
        for target in targets:
            received, expected = (
                [weight.name for weight in layer.weights]
                for layer in (source, target)
            )
            if len(received) != len(expected):
                raise ValueError(
                    f"Expected layer {name_and_class(old)} to have the weights "
                    f"that its config creates, {expected}; received {received}."
                    " Create all weights in the layer's `build` method."
                )
            target.set_weights(source.get_weights())


def _copy_attributes(
    old: tf.keras.layers.Layer, new: tf.keras.layers.Layer
) -> None:
    """Copies the attributes that not every layer has in its config."""
    new.trainable = old.trainable
    # A wrapper returns the attribute of the layer inside.
    if not isinstance(new, tf.keras.layers.Wrapper):
        if new.activity_regularizer is None:
            new.activity_regularizer = old.activity_regularizer
