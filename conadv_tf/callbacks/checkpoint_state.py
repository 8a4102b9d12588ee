"""What a step keeps besides weights and optimizer, as plain arrays.

A checkpoint of TensorFlow keeps only the first replica's copy of a local
variable, so the copies of all replicas are read here one by one.
"""

import io

import numpy as np
import tensorflow as tf

from conadv_tf.distribution import assign_local
from conadv_tf.distribution import local_values

_PENDING = "pending/"
_LABELS = "labels"


class Arrays(tf.train.experimental.PythonState):
    """{name: list of arrays} as one string of a checkpoint."""

    def __init__(self, values=None):
        self.values = values

    def serialize(self):
        """The values as the bytes of a NumPy file."""
        file = io.BytesIO()
        np.savez(
            file,
            **{
                f"{name}:{replica}": array
                for name, arrays in self.values.items()
                for replica, array in enumerate(arrays)
            },
        )
        return file.getvalue()

    def deserialize(self, string):
        """Sets the values from what `serialize` gave."""
        self.values = {}
        with np.load(io.BytesIO(string), allow_pickle=False) as content:
            for key in content.files:  # In the order of the replicas.
                name = key.rpartition(":")[0]
                self.values.setdefault(name, []).append(content[key])

    def _copy_trackable_to_cpu(self, object_map):
        """Its own copy: values are replaced, never changed."""
        object_map[self] = self


def read(model):
    """The state of a compiled `ConAdvModel`'s training.

    Counters, stale weights, sums over micro-batches, the pending batch and the
    metrics of the epoch so far; not weights and optimizer.

    Args:
      model: a compiled `ConAdvModel`.

    Returns:
      {name: list of NumPy arrays, one for each replica of this process}.
    """
    strategy, state = model.distribute_strategy, model._state
    values = {
        name: local_values(strategy, variable)
        for name, variable in {
            **_variables(model),
            **_metric_variables(model),
        }.items()
    }
    pending = state.pending
    if pending is not None and int(pending.age.read_value().numpy()):
        for name, variable in pending.variables.items():
            values[_PENDING + name] = local_values(strategy, variable)
    if state.labels is not None:
        values[_LABELS] = [_example_labels(state.labels)]
    return values


def write(model, values):
    """Restores what `read` returned, except the metrics.

    The pending batch waits until the first batch has shown its kind of data.

    Args:
      model: a compiled `ConAdvModel`, built as the one that was read.
      values: what `read` returned.

    Raises:
      ValueError: if the model or its number of replicas is another.
    """
    strategy, state = model.distribute_strategy, model._state
    variables = _variables(model)
    missing = sorted(set(variables) - set(values))
    if missing:
        raise ValueError(
            f"Expected a checkpoint with {missing}; it has "
            f"{sorted(values)}. It was made by a model with another attack, "
            "staleness or number of micro-batches."
        )
    model.reset_pending()
    for name, variable in variables.items():
        assign_local(strategy, variable, values[name])
    if state.microbatches is not None:
        state.microbatches.resume()
    state.pending_to_restore = {
        name[len(_PENDING) :]: value
        for name, value in values.items()
        if name.startswith(_PENDING)
    } or None


def write_metrics(model, values):
    """Restores the metrics of an epoch that was left in its middle.

    Args:
      model: a compiled `ConAdvModel`.
      values: what `read` returned.
    """
    if _LABELS in values:
        _build_metrics(model, values[_LABELS][0])
    for name, variable in _metric_variables(model).items():
        if name in values:
            assign_local(model.distribute_strategy, variable, values[name])


def build_metrics(model, labels):
    """Creates Keras's metrics, which otherwise wait for the first step.

    Args:
      model: a compiled `ConAdvModel`.
      labels: TensorSpec of a batch of labels.
    """
    _build_metrics(model, _example_labels(labels))


def assign_pending(model):
    """Fills the pending batch, which exists now, from a checkpoint."""
    state = model._state
    values, state.pending_to_restore = state.pending_to_restore, None
    variables = state.pending.variables
    if set(variables) != set(values):
        raise ValueError(
            f"Expected a pending batch with {sorted(variables)}; the "
            f"checkpoint has {sorted(values)}. Continue with data of the same "
            "structure."
        )
    for name, variable in variables.items():
        assign_local(model.distribute_strategy, variable, values[name])


def _variables(model):
    """Local variables by a name that is the same in every process.

    Moving statistics too, each replica's own: a checkpoint has their mean.
    """
    state = model._state
    found = {
        f"network/{index}": variable
        for index, variable in enumerate(model.network.non_trainable_variables)
        if variable.synchronization == tf.VariableSynchronization.ON_READ
    }
    found.update(
        {
            "skipped": state.update.skipped,
            "first_skipped": state.update.first_skipped,
        }
    )
    if state.step is not None:
        found["step"] = state.step
    groups = {}
    if state.microbatches is not None:
        groups["microbatches"] = state.microbatches.variables
    if state.shadow is not None:
        # Without micro-batches each step begins by writing the shadow.
        groups["shadow"] = (
            state.shadow.rings
            if state.microbatches is None
            else state.shadow.variables
        )
    for group, variables in groups.items():
        for index, variable in enumerate(variables):
            found[f"{group}/{index}"] = variable
    return found


def _metric_variables(model):
    return {
        f"metrics/{metric.name}/{index}": variable
        for metric in model.metrics
        for index, variable in enumerate(metric.variables)
    }


def _example_labels(spec):
    shape = [size or 0 for size in spec.shape[1:]]
    return np.zeros([1, *shape], spec.dtype.as_numpy_dtype)


def _build_metrics(model, labels):
    with model.distribute_strategy.scope():
        logits = tf.zeros([1, *model.network.output_shape[1:]])
        if not model.compiled_loss.built:
            model.compiled_loss.build(logits)
        if not model.compiled_metrics.built:
            model.compiled_metrics.build(logits, tf.constant(labels))
