"""Callbacks of a run that are not part of the library."""

import tensorflow as tf

from conadv_tf import csv_file


class LearningRateLogger(tf.keras.callbacks.Callback):
    """Adds the learning rate of the last update to the logs of each epoch."""

    def on_epoch_end(self, epoch, logs=None):
        """Reads the learning rate from the optimizer."""
        if logs is not None:
            optimizer = self.model.optimizer
            rate = optimizer.learning_rate
            if callable(rate):  # tensorflow-addons stores the schedule here.
                rate = rate(optimizer.iterations - 1)
            # With several replicas the rate is a distributed value.
            logs["learning_rate"] = float(tf.convert_to_tensor(rate))


class HistoryFile(tf.keras.callbacks.Callback):
    """Writes the logs of all epochs to a CSV file, one row for each epoch.

    The file is rewritten atomically after each epoch. Values that an epoch did
    not log, because it had no evaluation, are empty.

    Args:
      path: path of the file.
      epoch: first epoch to be trained. Rows of earlier epochs are kept; the
        other rows of an existing file are discarded.

    Raises:
      ValueError: if the existing file is not a table of numbers.
    """

    def __init__(self, path, epoch=0):
        super().__init__()
        self._path = path
        self._rows = []
        if epoch and path.exists():
            numbers = csv_file.read_numbers(path, ["epoch"])
            self._rows = [
                texts
                for texts, row in zip(csv_file.read(path), numbers)
                if row["epoch"] < epoch
            ]

    def on_epoch_end(self, epoch, logs=None):
        """Adds a row."""
        self._rows.append({"epoch": epoch, **(logs or {})})
        columns = sorted(set().union(*self._rows) - {"epoch"})
        csv_file.write(self._path, self._rows, ["epoch", *columns])


def files(config, model_dir, epoch):
    """Returns the callbacks that write history.csv and tensorboard/.

    Args:
      config: a `RunConfig`.
      model_dir: path of the folder of the run.
      epoch: first epoch to be trained.
    """
    found = [HistoryFile(model_dir / "history.csv", epoch)]
    if config.tensorboard or config.profile_batches is not None:
        found.append(
            tf.keras.callbacks.TensorBoard(
                str(model_dir / "tensorboard"),
                profile_batch=config.profile_batches or 0,
            )
        )
    return found


def evaluated_epochs(epochs, every):
    """Returns the epochs that end with an evaluation, for `validation_freq`.

    Args:
      epochs: number of epochs of the run.
      every: epochs between evaluations. The last epoch always has one.

    Returns:
      List of epochs, counted from 1.
    """
    return sorted({*range(every, epochs + 1, every), epochs})
