"""Training state other than weights and optimizer, as NumPy arrays.

A TensorFlow checkpoint has only the first replica's copy of a local variable,
so this module reads the copies of all replicas one by one.
"""

from collections.abc import Iterator
import contextlib
import io
import json
from typing import Any
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf import steps
from conadv_tf.distribution import assign_local
from conadv_tf.distribution import local_values
from conadv_tf.distribution import worker_index_and_count

# {name: one array for each replica of this process}.
Values = dict[str, list[np.ndarray]]

_LABELS = "labels"
_STEP = "step_class"
_POSITION = "position"
_LENGTH = "batches_per_epoch"


class Arrays(keras_internals.PythonState):
    """Saves {name: list of arrays} as one string of a checkpoint.

    Attributes:
      values: the dict of arrays; None before anything is restored.
    """

    def __init__(self, values: Optional[Values] = None) -> None:
        self.values = values

    def serialize(self) -> bytes:
        """Returns the values as the bytes of a NumPy file."""
        file = io.BytesIO()
        np.savez(
            file,
            **{
                # Labels that are strings are objects, which need pickle.
                f"{name}:{replica}": array.astype("S")
                if array.dtype == object
                else array
                for name, arrays in (self.values or {}).items()
                for replica, array in enumerate(arrays)
            },
        )
        return file.getvalue()

    def deserialize(self, string: bytes) -> None:
        """Restores the values from the result of `serialize`."""
        self.values = {}
        with np.load(io.BytesIO(string), allow_pickle=False) as content:
            for key in content.files:  # Replicas are in order.
                name = key.rpartition(":")[0]
                self.values.setdefault(name, []).append(content[key])


def read(model: tf.keras.Model) -> Values:
    """Returns the training state of a compiled `ConAdvModel`.

    It has the variables of the training step, the moving statistics of each
    replica and the metrics of the epoch so far, but not weights and optimizer.

    Args:
      model: a compiled `ConAdvModel`.
    """
    strategy, runner = model.distribute_strategy, model.runner
    values = {
        name: local_values(strategy, variable)
        for name, variable in {
            **_statistics(model),
            **runner.saved_variables(),
            **_metric_variables(model),
        }.items()
    }
    if runner.labels is not None:
        values[_LABELS] = [steps.example_labels(runner.labels)]
    values[_STEP] = [np.array(_description(model.step))]
    return values


def _description(step: Any) -> str:
    """Returns the class of a step and its options.

    The weight is left out, because it may change between two parts of a run.
    """
    options = {k: v for k, v in step.get_config().items() if k != "weight"}
    if step.attacking_step is not step:
        options["step"] = _description(step.attacking_step)
    return f"{type(step).__name__} {json.dumps(options, default=repr)}"


def write(model: tf.keras.Model, values: Values) -> None:
    """Restores the result of `read`, except the metrics.

    The batches that a step stores are restored at the first training batch,
    which shows their shapes and dtypes.

    Args:
      model: a compiled `ConAdvModel`, built like the model that was read.
      values: result of `read`.

    Raises:
      ValueError: if the model, its step or its number of replicas is
        different.
    """
    expected = _description(model.step)
    received = str(values.get(_STEP, ["a step of an older version"])[0])
    if received != expected:
        raise ValueError(
            f"Expected a checkpoint of a model with the step {expected}; "
            f"received one with {received}. Build the model with the same "
            "step, or start with an empty folder."
        )
    model.runner.restore(values)
    for name, variable in _statistics(model).items():
        assign_local(model.distribute_strategy, variable, values[name])


def write_metrics(model: tf.keras.Model, values: Values) -> None:
    """Restores the metrics of an interrupted epoch.

    Args:
      model: a compiled `ConAdvModel`.
      values: result of `read`.
    """
    if _LABELS in values:
        # Otherwise the first step creates them.
        with model.distribute_strategy.scope():
            keras_internals.build_metrics(
                model,
                tf.constant(values[_LABELS][0]),
                tf.zeros([1, *model.network.outputs[0].shape[1:]]),
            )
    for name, variable in _metric_variables(model).items():
        if name in values:
            assign_local(model.distribute_strategy, variable, values[name])


class _StateInBackups(Arrays):
    """The training state of a model, as a part of the model's checkpoints."""

    def __init__(self, model: tf.keras.Model) -> None:
        super().__init__()
        self._model = model

    def serialize(self) -> bytes:
        """Returns the current state of the model as the bytes of a file."""
        self.values = read(self._model)
        return super().serialize()


class _RestoreState(tf.keras.callbacks.Callback):
    """Restores the training state after `BackupAndRestore` has read a file.

    A checkpoint restores such a state before the weights. The moving statistics
    of each replica must come after them.
    """

    def __init__(self, state: _StateInBackups) -> None:
        super().__init__()
        self._state = state

    def on_train_begin(self, logs: Optional[dict[str, Any]] = None) -> None:
        if self._state.values is not None:
            write(self.model, self._state.values)


@contextlib.contextmanager
def state_in_backups(model: tf.keras.Model, callbacks: Any) -> Iterator[Any]:
    """Adds the training state to the files of Keras's `BackupAndRestore`.

    Several processes restore the file of the first one, whose state is not
    theirs, so that nothing is added for them.

    Args:
      model: a `ConAdvModel`.
      callbacks: callbacks of `fit`, a list or a `CallbackList`.

    Yields:
      The callbacks to use; the files that are written inside have the state.
    """
    kind = tf.keras.callbacks.BackupAndRestore
    each = getattr(callbacks, "callbacks", callbacks)
    _, processes = worker_index_and_count(model.distribute_strategy)
    if processes > 1 or not any(isinstance(one, kind) for one in each):
        yield callbacks
        return
    # A checkpoint of a model has the trackable attributes of the model.
    model.state_between_steps = _StateInBackups(model)
    restore = _RestoreState(model.state_between_steps)
    if each is callbacks:
        callbacks = [*callbacks, restore]
    else:
        restore.set_model(model)  # A CallbackList does not do this.
        callbacks.append(restore)
    try:
        yield callbacks
    finally:
        del model.state_between_steps


def position_values(epoch: int, batch: int, length: Optional[int]) -> Values:
    """Returns the values that store a position in the training.

    Args:
      epoch: number of finished epochs.
      batch: number of finished batches of the next epoch.
      length: batches per epoch; None if it is not known.
    """
    values = {_POSITION: [np.array([epoch, batch], np.int64)]}
    if length is not None:
        values[_LENGTH] = [np.array(length, np.int64)]
    return values


def position(values: Values) -> tuple[int, int]:
    """Returns the (epoch, batch) that `position_values` stored."""
    epoch, batch = values[_POSITION][0]
    return int(epoch), int(batch)


def check_epoch_length(values: Values, length: Optional[int]) -> None:
    """Raises a ValueError if an epoch has another number of batches.

    The numbers of checkpoints count batches. If they decreased, an older
    checkpoint would count as the last one.

    Args:
      values: values of the checkpoint that is restored.
      length: batches per epoch now; None if it is not known.
    """
    if _LENGTH in values and values[_LENGTH][0] != length:
        raise ValueError(
            f"Expected {values[_LENGTH][0]} batches per epoch, as before the "
            f"training was interrupted; received {length}. Restore the data "
            "and the batch size, or start with an empty folder."
        )


def _statistics(model: tf.keras.Model) -> dict[str, tf.Variable]:
    """Returns local moving statistics, whose mean alone is in a checkpoint."""
    return {
        f"network/{index}": variable
        for index, variable in enumerate(model.network.non_trainable_variables)
        if variable.synchronization == tf.VariableSynchronization.ON_READ
    }


def _metric_variables(model: tf.keras.Model) -> dict[str, tf.Variable]:
    return {
        f"metrics/{metric.name}/{index}": variable
        for metric in model.metrics
        for index, variable in enumerate(metric.variables)
    }
