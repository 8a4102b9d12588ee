"""The memory that a training step needs."""

import dataclasses
import math
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf import xla_internals
from conadv_tf.steps import batch_spec
from conadv_tf.steps.runner import group_of
from conadv_tf.steps.runner import PENDING

# The row of each group of variables of a step; other groups are counters.
_ROWS = {
    "shadow": "shadow",
    "ring": "shadow",
    PENDING: "pending",
    "microbatches": "sums",
}


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """Bytes that a training step needs on one replica.

    Attributes:
      weights: trainable weights.
      untrained: moving statistics and other variables that are not trained.
      shadow: stale weights; `staleness` sets of trainable weights.
      slots: the optimizer's variables for the weights.
      pending: the pending batch, with its adversarial images.
      sums: sums over micro-batches.
      counters: counters of steps, skipped updates and invalid images.
      batch: the received batch.
      temporary: peak memory of activations, gradients and other intermediate
        results, as XLA's CPU compiler arranges them; None if the step was not
        compiled.
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
        """Sum of all rows; without `temporary` if that is unknown."""
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
    """Returns the memory that a training step of a model needs for a batch.

    Args:
      model: a compiled `ConAdvModel`, outside of a strategy with several
        replicas. The call creates the optimizer's variables, as `fit` does.
      batch: (images, labels[, sample_weight]) of one replica, arrays or
        TensorSpecs of static shape.
      compile_step: whether to compile the step with XLA for the CPU, which
        takes between a second and minutes, to determine `temporary`. An
        accelerator's compiler arranges buffers differently and adds padding,
        so the value is an estimate.

    Returns:
      `StepMemory`.

    Raises:
      ValueError: if the model is not compiled or the batch has another
        structure.

    Example: the shadow weights are as large as the weights.
      >>> layers = [tf.keras.Input((100,)), tf.keras.layers.Dense(10)]
      >>> model = ca.ConAdvModel(tf.keras.Sequential(layers), ca.FGSM(0.1))
      >>> model.compile("sgd", tf.keras.losses.MeanSquaredError())
      >>> batch = tf.zeros([4, 100]), tf.zeros([4, 10])
      >>> memory = ca.step_memory(model, batch, compile_step=False)
      >>> memory.weights, memory.shadow
      (4040, 4040)
    """
    element_spec = tf.nest.map_structure(_spec, tuple(batch))
    # A new runner, because the model's may hold a pending batch.
    runner = model.new_runner()
    received = batch_spec.local_spec(
        runner.context.unnamed(element_spec), True, model.views
    )
    function = runner.as_function(element_spec, jit_compile=True)
    sizes = dict.fromkeys([*_ROWS.values(), "counters"], 0)
    for name, variable in runner.variables().items():
        sizes[_ROWS.get(group_of(name), "counters")] += _size(variable)
    temporary = None
    if compile_step:
        module = xla_internals.optimized_hlo(
            function, *tf.nest.flatten(element_spec)
        )
        temporary = temporary_bytes(module)
    return StepMemory(
        weights=sum(map(_size, model.network.trainable_variables)),
        untrained=sum(map(_size, model.network.non_trainable_variables)),
        slots=sum(map(_size, model.optimizer.variables)),
        batch=sum(_size(spec) for spec in received if spec is not None),
        temporary=temporary,
        **sizes,
    )


def temporary_bytes(module: Any) -> int:
    """Returns the bytes of a module's buffers that are not its arguments.

    These are activations, gradients, results that replace no variable, and
    constants.

    Args:
      module: result of `xla_internals.optimized_hlo`.
    """
    return sum(
        allocation.size
        for allocation in module.buffer_assignment.buffer_allocations
        if not allocation.is_entry_computation_parameter
        and not allocation.is_thread_local  # Scalars on a stack.
    )


def _spec(value: Any) -> tf.TensorSpec:
    if isinstance(value, tf.TensorSpec):
        return value
    return tf.TensorSpec.from_tensor(tf.convert_to_tensor(value))


def _size(spec: Any) -> int:
    return spec.dtype.size * math.prod(spec.shape.as_list())
