"""What the model and the optimizers call with arguments of the user.

Arguments without an object of Keras 3 are returned as they are, and no other
module of this subpackage is imported.
"""

import sys
from typing import Any

from conadv_tf.keras_3.detection import is_keras_3
from conadv_tf.keras_3.errors import refusal


def adapted(value: Any) -> Any:
    """Replaces optimizers, schedules, losses and metrics of Keras 3.

    Args:
      value: any value, or a list, tuple or dict of such values at any depth.

    Returns:
      The value with objects of tf.keras in place of the objects of Keras 3.

    Raises:
      ValueError: if tf.keras has no equal object, with the line to write.
    """
    if isinstance(value, dict):
        items = {key: adapted(each) for key, each in value.items()}
        changed = any(items[key] is not value[key] for key in value)
        return items if changed else value
    if isinstance(value, (list, tuple)):
        each = [adapted(one) for one in value]
        if all(new is old for new, old in zip(each, value)):
            return value
        return tuple(each) if isinstance(value, tuple) else each
    if not is_keras_3(value):
        return value
    from conadv_tf.keras_3 import training

    return training.from_keras_3(value)


def check_compile(arguments: dict[str, Any]) -> None:
    """Raises a ValueError for an argument of `compile` of Keras 3.

    Args:
      arguments: keyword arguments of `compile`.
    """
    if "auto_scale_loss" in arguments:
        raise refusal(
            "an argument of tf.keras's `compile`",
            "`auto_scale_loss`, an argument of Keras 3",
            "Remove it: the loss of a network that computes in float16 is "
            "always scaled",
        )
    if arguments.get("jit_compile") == "auto":
        raise refusal(
            "jit_compile to be True or False",
            "'auto', a value of Keras 3",
            "Write jit_compile=True to compile by XLA, or remove it",
        )


def warn_of_changes(optimizer: Any) -> None:
    """Warns if an optimizer of Keras 3 has changed since `compile`.

    Args:
      optimizer: optimizer of the model, of tf.keras.
    """
    remembered = sys.modules.get("conadv_tf.keras_3.remembered")
    if remembered is not None:  # An optimizer of Keras 3 was adapted.
        remembered.warn_of_changes(optimizer)


def adapted_callbacks(callbacks: Any) -> Any:
    """Replaces callbacks of Keras 3 by callbacks of tf.keras.

    Args:
      callbacks: the argument of `fit`: None, a callback, a nested list, or a
        `CallbackList`.

    Raises:
      ValueError: if a callback cannot be adapted, with the line to write.
    """
    if isinstance(callbacks, (list, tuple)):
        return [adapted_callbacks(each) for each in callbacks]
    if not is_keras_3(callbacks):
        return callbacks
    from conadv_tf.keras_3 import callbacks as callbacks_lib

    return callbacks_lib.from_keras_3(callbacks)


def check_data(data: Any) -> None:
    """Raises a ValueError for a dataset of Keras 3.

    Args:
      data: the first argument of `fit`, `evaluate` or `predict`.
    """
    if is_keras_3(data):
        raise refusal(
            "arrays, a tf.data.Dataset or a tf.keras.utils.Sequence",
            f"{type(data).__name__}, an object of Keras 3",
            "Derive it from tf.keras.utils.Sequence in place of "
            "keras.utils.PyDataset, or write a tf.data.Dataset",
        )
