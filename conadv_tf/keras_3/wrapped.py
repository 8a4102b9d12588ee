"""A layer of tf_keras that runs a layer or an operation of Keras 3."""

from collections.abc import Callable
import json
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf.keras_3.detection import is_keras_3
from conadv_tf.keras_3.detection import keras_3
from conadv_tf.types import Config

_TENSOR = "__keras_tensor__"
# Random layers of Keras 3 for images, beside RandomFlip and similar.
_AUGMENTATIONS = ("AugMix", "CutMix", "MixUp", "RandAugment")


def fill(value: Any, tensor: Callable[[Config], Any]) -> Any:
    """Returns the arguments of a call from their serialized form.

    Args:
      value: arguments that Keras 3 serialized.
      tensor: returns what takes the place of a tensor, from the tensor's
        config. Called in the order of the tensors.
    """
    if isinstance(value, (list, tuple)):
        return type(value)(fill(each, tensor) for each in value)
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == _TENSOR:
        return tensor(value["config"])
    if "class_name" in value:
        return keras_3().saving.deserialize_keras_object(value)
    return {key: fill(each, tensor) for key, each in value.items()}


class _Held:
    """Holds an operation of Keras 3, whose variables Keras 2 must not find."""

    def __init__(self, operation: Config, arguments: Config) -> None:
        # Texts, which Keras 2 does not change.
        self.operation = json.dumps(operation)
        self.arguments = json.dumps(arguments)
        self.function = keras_3().saving.deserialize_keras_object(operation)
        call = fill(arguments, lambda each: _symbol(each))
        # Creates the variables.
        self.function(*call["args"], **call["kwargs"])
        self.weights: list[Any] = []
        self.seeds: list[Any] = []  # State of random number generators.
        if isinstance(self.function, keras_3().layers.Layer):
            self.function.trainable = True
            self.weights = list(self.function.weights)
            known = {id(weight) for weight in self.weights}
            self.seeds = [
                variable
                for variable in self.function.variables
                if id(variable) not in known
            ]

    def call(self, inputs: Any) -> tuple[Any, Any]:
        """Returns the arguments of a call with these tensors."""
        tensors = iter(tf.nest.flatten(inputs))
        call = fill(json.loads(self.arguments), lambda _: next(tensors))
        return call["args"], call["kwargs"]


def _symbol(config: Config) -> Any:
    return keras_3().KerasTensor(config["shape"], config["dtype"])


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
class Keras3Layer(tf.keras.layers.Layer):
    """Runs a layer or an operation of Keras 3 in a network of Keras 2.

    It has the weights, and the weights of the layer of Keras 3 are unused.
    Keras 3 computes regularizers, constraints and losses of `add_loss`.

    Args:
      operation: the serialized layer or operation of Keras 3.
      arguments: {"args": ..., "kwargs": ...}, the serialized arguments of its
        call. The layer is called with the tensors among them, in order.
      **kwargs: arguments of a Keras layer.

    Raises:
      ValueError: if the layer of Keras 3 has state that a call changes.
    """

    def __init__(
        self, operation: Config, arguments: Config, **kwargs: Any
    ) -> None:
        # The layer of Keras 3 casts its inputs and weights.
        super().__init__(autocast=False, **kwargs)
        with tf.init_scope():
            self.held = _Held(operation, arguments)
        changing = [
            each.path for each in self.held.weights if not each.trainable
        ]
        if changing:
            raise ValueError(
                "Expected a layer whose calls change no variables; received "
                f"{self.name!r} with {', '.join(changing)}. Build the network "
                "with layers that tf.keras.layers has too."
            )
        self.held_weights = [
            self.add_weight(
                name=each.name,
                shape=each.shape,
                dtype=each.dtype,
                initializer=_Value(each),
                regularizer=each.regularizer,
                constraint=each.constraint,
                experimental_autocast=False,
            )
            for each in self.held.weights
        ]

    def call(self, inputs: Any, training: Optional[bool] = None) -> Any:
        """Calls the layer of Keras 3 with the weights of this layer."""
        held = self.held
        args, kwargs = held.call(inputs)
        if training is not None and isinstance(
            held.function, keras_3().layers.Layer
        ):
            kwargs = {"training": training, **kwargs}
        values = [
            *zip(held.weights, map(tf.convert_to_tensor, self.held_weights)),
            *((seed, _random_seed(seed)) for seed in held.seeds),
        ]
        with keras_3().StatelessScope(values, collect_losses=True) as scope:
            outputs = held.function(*args, **kwargs)
        for loss in scope.losses:
            self.add_loss(loss)
        return outputs

    def normalization_and_biases(
        self,
    ) -> tuple[list[tf.Variable], list[tf.Variable]]:
        """Returns the scales and offsets, and the biases, for `ca.LARS`.

        They are found by the names that Keras 3 gives them.
        """
        names = [each.name for each in self.held.weights]
        normalization, biases = (
            [w for w, name in zip(self.held_weights, names) if name in kind]
            for kind in (("beta", "gamma", "scale"), ("bias",))
        )
        return normalization, biases

    def augments_images(self) -> bool:
        """Returns whether the layer of Keras 3 augments images at random."""
        bases = type(self.held.function).__mro__
        names = [each.__name__ for each in bases if is_keras_3(each)]
        return any(
            name.startswith("Random") or name in _AUGMENTATIONS
            for name in names
        )

    def get_config(self) -> Config:
        """Returns the constructor arguments, JSON-serializable."""
        return {
            **super().get_config(),
            "operation": json.loads(self.held.operation),
            "arguments": json.loads(self.held.arguments),
        }


class _Value:
    """An initializer that returns the value of a variable of Keras 3."""

    def __init__(self, variable: Any) -> None:
        self.variable = variable

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Any:
        with tf.init_scope():
            value = self.variable.numpy()
        return tf.cast(value, dtype)


def _random_seed(variable: Any) -> tf.Tensor:
    """Draws the state of a generator of random seeds."""
    seed = tf.random.uniform(variable.shape, maxval=2**31 - 1, dtype=tf.int32)
    return tf.cast(seed, variable.dtype)
