"""What a training step holds in memory."""

import dataclasses
import math
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf import xla_internals
from conadv_tf.steps import batch_spec
from conadv_tf.steps import lowering
from conadv_tf.steps.protocol import group_of

# The row of each group of variables that a step keeps; others are counters.
_ROWS = {
    "shadow": "shadow",
    "ring": "shadow",
    "pending": "pending",
    "microbatches": "sums",
}


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """Bytes that a training step needs on one replica.

    weights: trainable weights.
    untrained: moving statistics and other variables that are not trained.
    shadow: stale weights; one set for staleness 1, `staleness` sets above.
    slots: what the optimizer keeps for each weight.
    pending: the batch that was attacked and waits to be trained on.
    sums: sums over micro-batches.
    counters: of steps and of what went wrong.
    batch: the batch that is received.
    temporary: the largest sum of activations, gradients and other results
      that live at once, as XLA's CPU compiler arranges it; None where the step
      was not compiled.
    """

    weights: int
    untrained: int
    shadow: int
    slots: int
    pending: int
    sums: int
    counters: int
    batch: int
    temporary: Optional[int]

    @property
    def total(self) -> int:
        """All of it; without `temporary` where that is unknown."""
        return sum(value or 0 for value in dataclasses.astuple(self))

    def __str__(self) -> str:
        rows = {**dataclasses.asdict(self), "total": self.total}
        return "\n".join(
            f"{name:<10}"
            + (
                "   not compiled"
                if size is None
                else f"{size / 2**20:12.2f} MiB"
            )
            for name, size in rows.items()
        )


def step_memory(
    model: tf.keras.Model, batch: Any, compile_step: bool = True
) -> StepMemory:
    """Says what a training step of a model needs for a batch.

    Args:
      model: a compiled `ConAdvModel`, outside of a strategy with several
        replicas. Its optimizer gets its slots, as in `fit`.
      batch: (images, labels[, sample_weight]) of one replica, arrays or
        TensorSpecs of static shape.
      compile_step: whether to compile the step with XLA for the CPU, from a
        second to minutes, for the size of what lives during a step only. An
        accelerator's compiler arranges it in other ways and needs padding: a
        guide, not a promise.

    Returns:
      `StepMemory`.

    Raises:
      ValueError: if the model is not compiled or the batch not as above.

    Example: the stale weights are as large as the weights.
      >>> layers = [tf.keras.Input((100,)), tf.keras.layers.Dense(10)]
      >>> model = ca.ConAdvModel(tf.keras.Sequential(layers), ca.FGSM(0.1))
      >>> model.compile("sgd", tf.keras.losses.MeanSquaredError())
      >>> batch = tf.zeros([4, 100]), tf.zeros([4, 10])
      >>> memory = ca.step_memory(model, batch, compile_step=False)
      >>> memory.weights, memory.shadow
      (4040, 4040)
    """
    element_spec = tf.nest.map_structure(_spec, tuple(batch))
    # A step of its own: that of the model keeps what it has.
    step = model.new_step()
    received = batch_spec.local_spec(element_spec, True, model.views)
    step.prepare(element_spec, static=True)
    keras_internals.create_slots(
        model.optimizer, model.network.trainable_variables
    )
    sizes = dict.fromkeys([*_ROWS.values(), "counters"], 0)
    for name, variable in step.variables().items():
        sizes[_ROWS.get(group_of(name), "counters")] += _size(variable)
    temporary = None
    if compile_step:
        module = xla_internals.optimized_hlo(
            lowering.step_function(model, element_spec, step, jit_compile=True),
            *tf.nest.flatten(element_spec),
        )
        temporary = lowering.temporary_bytes(module)
    return StepMemory(
        weights=sum(map(_size, model.network.trainable_variables)),
        untrained=sum(map(_size, model.network.non_trainable_variables)),
        slots=sum(map(_size, model.optimizer.variables)),
        batch=sum(_size(spec) for spec in received if spec is not None),
        temporary=temporary,
        **sizes,
    )


def _spec(value: Any) -> tf.TensorSpec:
    if isinstance(value, tf.TensorSpec):
        return value
    return tf.TensorSpec.from_tensor(tf.convert_to_tensor(value))


def _size(spec: Any) -> int:
    return spec.dtype.size * math.prod(spec.shape.as_list())
