"""Adds a callback to the argument `callbacks` of `fit`."""

from collections.abc import Sequence
from typing import Any
from typing import Union

import tensorflow as tf


def with_callback(
    callbacks: Any, new: tf.keras.callbacks.Callback, model: tf.keras.Model
) -> Union[
    tf.keras.callbacks.CallbackList, Sequence[tf.keras.callbacks.Callback]
]:
    """Puts a callback before the others, unless one of its class is there.

    Args:
      callbacks: the argument of `fit`: None, a callback, a list, or a
        `CallbackList`.
      new: the callback to add.
      model: the model that is trained.

    Returns:
      A list, or another `CallbackList`, with the new callback first. The
      argument does not change.
    """
    if isinstance(callbacks, tf.keras.callbacks.CallbackList):
        # A `CallbackList` chooses in its constructor which methods it calls.
        return type(callbacks)(
            with_callback(callbacks.callbacks, new, model),
            model=model,
            **getattr(callbacks, "params", {}),
        )
    if not isinstance(callbacks, (list, tuple)):
        callbacks = [] if callbacks is None else [callbacks]
    if any(isinstance(each, type(new)) for each in callbacks):
        return callbacks
    return [new, *callbacks]
