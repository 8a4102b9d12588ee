"""Creates the layers and the graph of a tf_keras network in Keras 3."""

import json
from typing import Any

import tensorflow as tf

from conadv_tf import keras_graph
from conadv_tf.keras_3.detection import keras_3
from conadv_tf.keras_3.layer_configs import equivalent_layer
from conadv_tf.keras_3.layer_configs import NoEquivalentError
from conadv_tf.keras_3.layer_configs import refusal
from conadv_tf.keras_3.wrapped import Keras3Layer


class Conversion:
    """Converts models of tf_keras, with one new layer for each layer.

    Attributes:
      pairs: (layer or model of tf_keras, new one); layers before their model.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[Any, Any]] = []
        self._converted: dict[int, Any] = {}

    def model(self, network: tf.keras.Model) -> Any:
        """Returns the conversion of a functional or Sequential model."""
        keras = keras_3()
        if isinstance(network, tf.keras.Sequential):
            layers = [self._layer(layer) for layer in network.layers]
            layers = [_input(network.inputs[0]), *layers]
            return keras.Sequential(layers, name=network.name)
        tensors = {id(each): _input(each) for each in network.inputs}
        for call in keras_graph.calls(network):
            inputs = [tensors[id(symbol)] for symbol in call.inputs]
            args, kwargs = call.arguments_with(inputs)
            new = self._layer(call.layer)
            if isinstance(call.layer, Keras3Layer):
                args, kwargs = call.layer.held.call(args[0])
            try:
                outputs = new(*args, **kwargs)
            except (TypeError, ValueError) as error:
                raise refusal(call.layer, str(error)) from error
            flat = keras.tree.flatten(outputs)
            tensors.update(zip(map(id, call.outputs), flat))
        inputs, outputs = (
            tf.nest.map_structure(lambda each: tensors[id(each)], side)
            for side in keras_graph.ends(network)
        )
        return keras.Model(inputs, outputs, name=network.name)

    def _layer(self, layer: tf.keras.layers.Layer) -> Any:
        if id(layer) not in self._converted:
            self._converted[id(layer)] = (
                self.model(layer)
                if isinstance(layer, tf.keras.Model)
                else _convert(layer)
            )
            new = self._converted[id(layer)]
            if isinstance(new, keras_3().layers.Layer):
                self.pairs.append((layer, new))
        return self._converted[id(layer)]


def _convert(layer: tf.keras.layers.Layer) -> Any:
    keras = keras_3()
    if isinstance(layer, Keras3Layer):
        operation = json.loads(layer.held.operation)
        return keras.saving.deserialize_keras_object(operation)
    try:
        return equivalent_layer(layer, tf.keras, keras)
    except NoEquivalentError as error:
        raise refusal(layer, f"in Keras 3 {error}") from error


def _input(symbol: Any) -> Any:
    size, *rest = symbol.shape
    return keras_3().Input(
        rest, batch_size=size, dtype=symbol.dtype.name, name=symbol.name
    )
