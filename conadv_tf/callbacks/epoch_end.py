"""Tells the training step that an epoch of `fit` has ended."""

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
