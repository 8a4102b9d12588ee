"""Callbacks of a run that are not the library's."""

import tensorflow as tf

from conadv_tf import csv_file


class LearningRateLogger(tf.keras.callbacks.Callback):
    """Adds the learning rate of the last update to an epoch's logs."""

    def on_epoch_end(self, epoch, logs=None):
        """Reads it from the optimizer."""
        if logs is not None:
            optimizer = self.model.optimizer
            rate = optimizer.learning_rate
            if callable(rate):  # tensorflow-addons's keep the schedule here.
                rate = rate(optimizer.iterations - 1)
            # Of several replicas it is no number by itself.
            logs["learning_rate"] = float(tf.convert_to_tensor(rate))


class HistoryFile(tf.keras.callbacks.Callback):
    """Writes the logs of each epoch as a row of a CSV file.

    The file is written whole after each epoch. What an epoch did not log,
    because it did not evaluate, is empty.

    Args:
      path: of the file.
      epoch: first epoch to come; rows of earlier ones are kept, others are of
        epochs that will be trained again.
    """

    def __init__(self, path, epoch=0):
        super().__init__()
        self._path = path
        before = csv_file.read(path) if epoch and path.exists() else []
        self.rows = [row for row in before if int(row["epoch"]) < epoch]

    def on_epoch_end(self, epoch, logs=None):
        """Adds a row."""
        self.rows.append({"epoch": epoch, **(logs or {})})
        columns = sorted(set().union(*self.rows) - {"epoch"})
        csv_file.write(self._path, self.rows, ["epoch", *columns])


def evaluated_epochs(epochs, every):
    """Epochs that end with an evaluation, as Keras's validation_freq.

    Args:
      epochs: of the run.
      every: epochs from one evaluation to the next; the last epoch has one.

    Returns:
      List of epochs, counted from 1.
    """
    return sorted({*range(every, epochs + 1, every), epochs})


def tensorboard(config, model_dir):
    """Keras's TensorBoard callback, or none, as a list."""
    if not config.tensorboard and config.profile_batches is None:
        return []
    profile = config.profile_batches
    return [
        tf.keras.callbacks.TensorBoard(
            str(model_dir / "tensorboard"),
            profile_batch=[int(n) for n in profile.split(",")]
            if profile
            else 0,
        )
    ]
