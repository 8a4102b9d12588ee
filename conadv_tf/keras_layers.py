"""Access to private state of layers and variables, like `keras_internals`."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
from typing import Any

import tensorflow as tf

# Returns a loss that does not depend on the inputs of a call.
LossFunction = Callable[[], Any]


def loss_functions(layer: tf.keras.layers.Layer) -> list[LossFunction]:
    """Returns the functions that were given to `add_loss`, in order.

    They include the layer's weight regularizers and exclude those of the layers
    inside. `layer.losses` has the values, not the functions, which a copy of
    the layer needs.
    """
    # Keras wraps each function, which is the only argument of the wrapper.
    return [wrapper.args[0] for wrapper in layer._callable_losses]


def set_loss_functions(
    layer: tf.keras.layers.Layer, functions: Sequence[LossFunction]
) -> None:
    """Replaces the functions that `loss_functions` returns."""
    layer._callable_losses.clear()
    layer.add_loss(list(functions))


def handles(variable: Any) -> list[Any]:
    """Returns the resource handles of a variable, one for each replica.

    Handles identify variables in traced functions, which do not record the
    objects that strategies and mixed precision wrap around a variable.

    Args:
      variable: variable, or a table that a layer lists among its weights.
    """
    strategy = getattr(variable, "distribute_strategy", None)
    strategy = strategy or tf.distribute.get_strategy()
    return [
        getattr(part, "handle", part)
        for part in strategy.experimental_local_results(variable)
    ]


@contextlib.contextmanager
def kept_seeds(layers: Sequence[tf.keras.layers.Layer]) -> Iterator[None]:
    """Keeps the seeds that random layers use in the next trace.

    A layer with a seed, such as `Dropout(0.5, seed=1)`, adds the number of its
    traces to it.

    Args:
      layers: the layers that are traced inside.
    """
    generators: list[Any] = [
        getattr(each, "_random_generator", None) for each in layers
    ]
    seeds = [getattr(each, "_seed", None) for each in generators]
    try:
        yield
    finally:
        for generator, seed in zip(generators, seeds):
            if seed is not None:
                generator._seed = seed
