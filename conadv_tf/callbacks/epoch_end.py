"""Tells the training step that an epoch of `fit` has ended."""

from collections.abc import Sequence
from typing import Any
from typing import Union

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.types import Logs


class EpochEnd(keras_internals.Callback):
    """Calls the method `end_epoch` of a model's `StepRunner`.

    It comes before all other callbacks, so that checkpoints have the state of
    the next epoch and histories have the logs that the runner adds.
    """

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Passes the logs of the epoch."""
        self.model.runner.end_epoch({} if logs is None else logs)


def with_epoch_end(
    callbacks: Any, model: tf.keras.Model
) -> Union[
    tf.keras.callbacks.CallbackList, Sequence[tf.keras.callbacks.Callback]
]:
    """Adds an `EpochEnd` to the callbacks of `fit`.

    Args:
      callbacks: a list of callbacks or a `CallbackList`.
      model: the model that is trained.
    """
    if not isinstance(callbacks, tf.keras.callbacks.CallbackList):
        return [EpochEnd(), *callbacks]
    found = [each for each in callbacks.callbacks if isinstance(each, EpochEnd)]
    if not found:
        found = [EpochEnd()]
        callbacks.callbacks.insert(0, *found)
    found[0].set_model(model)  # A CallbackList does not do this.
    return callbacks
