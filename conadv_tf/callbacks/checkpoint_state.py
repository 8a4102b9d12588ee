"""What a step keeps besides weights and optimizer, as plain arrays.

A checkpoint of TensorFlow keeps only the first replica's copy of a local
variable, so the copies of all replicas are read here one by one.
"""

import io
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.distribution import assign_local
from conadv_tf.distribution import local_values

# {name: an array for each replica of this process}.
Values = dict[str, list[np.ndarray]]

_LABELS = "labels"


class Arrays(keras_internals.PythonState):
    """{name: list of arrays} as one string of a checkpoint."""

    def __init__(self, values: Optional[Values] = None) -> None:
        self.values = values

    def serialize(self) -> bytes:
        """The values as the bytes of a NumPy file."""
        file = io.BytesIO()
        np.savez(
            file,
            **{
                f"{name}:{replica}": array
                for name, arrays in (self.values or {}).items()
                for replica, array in enumerate(arrays)
            },
        )
        return file.getvalue()

    def deserialize(self, string: bytes) -> None:
        """Sets the values from what `serialize` gave."""
        self.values = {}
        with np.load(io.BytesIO(string), allow_pickle=False) as content:
            for key in content.files:  # In the order of the replicas.
                name = key.rpartition(":")[0]
                self.values.setdefault(name, []).append(content[key])


def read(model: tf.keras.Model) -> Values:
    """The state of a compiled `ConAdvModel`'s training.

    What its step keeps, moving statistics of each replica and the metrics of
    the epoch so far; not weights and optimizer.

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
    labels = runner.example_labels()
    if labels is not None:
        values[_LABELS] = [labels]
    return values


def write(model: tf.keras.Model, values: Values) -> None:
    """Restores what `read` returned, except the metrics.

    Data that a step keeps wait until the first batch has shown their kind.

    Args:
      model: a compiled `ConAdvModel`, built as the one that was read.
      values: what `read` returned.

    Raises:
      ValueError: if the model or its number of replicas is another.
    """
    model.runner.restore(values)
    for name, variable in _statistics(model).items():
        assign_local(model.distribute_strategy, variable, values[name])


def write_metrics(model: tf.keras.Model, values: Values) -> None:
    """Restores the metrics of an epoch that was left in its middle.

    Args:
      model: a compiled `ConAdvModel`.
      values: what `read` returned.
    """
    if _LABELS in values:
        # Otherwise they wait for the first step.
        with model.distribute_strategy.scope():
            keras_internals.build_metrics(
                model,
                tf.constant(values[_LABELS][0]),
                tf.zeros([1, *model.network.output_shape[1:]]),
            )
    for name, variable in _metric_variables(model).items():
        if name in values:
            assign_local(model.distribute_strategy, variable, values[name])


def _statistics(model: tf.keras.Model) -> dict[str, tf.Variable]:
    """Each replica's own moving statistics: a checkpoint has their mean."""
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
