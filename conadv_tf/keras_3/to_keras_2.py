"""Creates the layers and the graph of a Keras 3 network in tf_keras."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from conadv_tf.keras_3.detection import keras_3
from conadv_tf.keras_3.layer_configs import equivalent_layer
from conadv_tf.keras_3.layer_configs import NoEquivalentError
from conadv_tf.keras_3.layer_configs import refusal
from conadv_tf.keras_3.wrapped import fill
from conadv_tf.keras_3.wrapped import Keras3Layer
from conadv_tf.network_checks import name_and_class
from conadv_tf.types import Config


class Conversion:
    """Converts models of Keras 3, with one new layer for each layer.

    Attributes:
      pairs: (layer or model of Keras 3, new one); layers before their model.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[Any, Any]] = []
        self._converted: dict[int, Any] = {}
        self._arguments: dict[int, Any] = {}

    def model(self, network: Any) -> tf.keras.Model:
        """Returns the conversion of a functional or Sequential model."""
        check_graph(network)
        if isinstance(network, keras_3().Sequential):
            return self._sequential(network)
        return self._functional(network)

    def _layer(self, layer: Any, arguments: Config) -> Any:
        """Returns the conversion of a layer, an operation or a model.

        Args:
          layer: layer, operation or model of Keras 3.
          arguments: the serialized arguments of its call.
        """
        keras = keras_3()
        if id(layer) not in self._converted:
            is_model = isinstance(layer, keras.Model)
            self._converted[id(layer)] = (
                self.model(layer) if is_model else _convert(layer, arguments)
            )
            if isinstance(layer, keras.layers.Layer):
                self.pairs.append((layer, self._converted[id(layer)]))
        new = self._converted[id(layer)]
        if isinstance(new, Keras3Layer):
            # It holds all arguments that are not tensors.
            others = fill(arguments, lambda _: "tensor")
            if self._arguments.setdefault(id(layer), others) != others:
                raise refusal(layer, "its calls have different arguments")
        return new

    def _sequential(self, network: Any) -> tf.keras.Sequential:
        converted = tf.keras.Sequential(name=network.name)
        (symbol,) = network.inputs
        converted.add(_input(symbol.name, symbol.shape, symbol.dtype))
        for layer in network.layers:
            (output,) = converted.outputs
            tensor = {"shape": tuple(output.shape), "dtype": output.dtype.name}
            node = {"class_name": "__keras_tensor__", "config": tensor}
            converted.add(self._layer(layer, {"args": [node], "kwargs": {}}))
        return converted

    def _functional(self, network: Any) -> tf.keras.Model:
        keras = keras_3()
        # The config of a subclass may contain only its own arguments.
        plain = keras.Model(network.input, network.output)
        operations = {each.name: each for each in plain.operations}
        config = plain.get_config()
        tensors: dict[tuple[str, int, int], Any] = {}
        calls = []
        for each in config["layers"]:
            layer = operations[each["name"]]
            if isinstance(layer, keras.layers.InputLayer):
                symbol = _input(layer.name, layer.batch_shape, layer.dtype)
                tensors[layer.name, 0, 0] = symbol
            for index, arguments in enumerate(each["inbound_nodes"]):
                # Keras 3 writes the default value, and passes the value of the
                # model's call in its place.
                arguments["kwargs"].pop("training", None)
                calls.append((layer, index, arguments))
        while calls:
            waiting = []
            for layer, index, arguments in calls:
                inputs: list[Any] = []
                call = fill(arguments, _collector(tensors, inputs))
                if any(each is None for each in inputs):
                    waiting.append((layer, index, arguments))
                    continue
                new = self._layer(layer, arguments)
                if isinstance(new, Keras3Layer):
                    first = inputs if len(inputs) > 1 else inputs[0]
                    call = {"args": [first], "kwargs": {}}
                try:
                    outputs = new(*call["args"], **call["kwargs"])
                except (TypeError, ValueError) as error:
                    raise refusal(layer, str(error)) from error
                for place, output in enumerate(tf.nest.flatten(outputs)):
                    tensors[layer.name, index, place] = output
            if len(waiting) == len(calls):
                raise refusal(calls[0][0], "its inputs are never computed")
            calls = waiting

        def tensor(name: str, index: int, place: int) -> Any:
            # The first call of a functional model is its definition.
            is_model = isinstance(operations[name], keras.Model)
            if is_model and not isinstance(operations[name], keras.Sequential):
                index -= 1
            return tensors[name, index, place]

        return tf.keras.Model(
            _map_histories(tensor, config["input_layers"]),
            _map_histories(tensor, config["output_layers"]),
            name=network.name,
        )


def _convert(layer: Any, arguments: Config) -> tf.keras.layers.Layer:
    """Returns the equivalent layer, or else one that runs Keras 3's."""
    keras = keras_3()
    try:
        return equivalent_layer(layer, keras, tf.keras)
    except NoEquivalentError as error:
        reason = f"in tf_keras {error}"
    try:
        policy = getattr(layer, "dtype_policy", None)
        return Keras3Layer(
            keras.saving.serialize_keras_object(layer),
            arguments,
            name=layer.name,
            dtype=policy and policy.name,
        )
    except Exception as error:
        # Keras 3 begins its error with the whole config.
        cause = str(error).splitlines()[-1]
        raise refusal(layer, f"{reason}; in Keras 3: {cause}") from error


def check_graph(network: Any) -> None:
    """Raises a ValueError unless a network has the graph of its calls."""
    try:
        if isinstance(network, keras_3().Model) and network.inputs:
            return
    except (AttributeError, ValueError):  # Subclassed, or not built.
        pass
    received = type(network).__name__
    if isinstance(network, keras_3().Model):
        received = name_and_class(network)
    raise ValueError(
        "Expected a functional or Sequential network of Keras 3, whose layers "
        f"are known; received {received}. Write it as "
        "keras.Model(inputs, outputs), or give a Sequential model a "
        "keras.Input."
    )


def _input(name: str, shape: Any, dtype: Any) -> Any:
    size, *rest = shape
    return tf.keras.Input(rest, batch_size=size, dtype=dtype, name=name)


def _collector(
    tensors: dict[tuple[str, int, int], Any], inputs: list[Any]
) -> Callable[[Config], Any]:
    """Returns a function for `fill` that also lists the tensors.

    It returns None for a tensor that was not computed yet.
    """

    def collect(config: Config) -> Any:
        name, index, place = config["keras_history"]
        inputs.append(tensors.get((name, index, place)))
        return inputs[-1]

    return collect


def _map_histories(tensor: Callable[..., Any], value: Any) -> Any:
    """Replaces each [layer, call, output] in a structure by its tensor."""
    if isinstance(value, dict):
        return {k: _map_histories(tensor, each) for k, each in value.items()}
    if isinstance(value[0], str):
        return tensor(*value)
    return [_map_histories(tensor, each) for each in value]
