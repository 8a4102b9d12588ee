"""What a training step holds in memory."""

import dataclasses
import math
from typing import Optional

import tensorflow as tf

from conadv_tf.steps import input_spec


@dataclasses.dataclass(frozen=True)
class StepMemory:
    """Bytes that a training step needs on one replica.

    weights: trainable weights.
    untrained: moving statistics and other variables that are not trained.
    shadow: stale weights; one set for staleness 1, `staleness` sets above.
    slots: what the optimizer keeps for each weight.
    pending: the batch that was attacked and waits to be trained on.
    sums: sums over micro-batches.
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
    batch: int
    temporary: Optional[int]

    @property
    def total(self):
        """All of it; without `temporary` where that is unknown."""
        return sum(value or 0 for value in dataclasses.astuple(self))

    def __str__(self):
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


def step_memory(model, batch, compile_step=True):
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
    """
    state = model._state
    if state.update is None:
        raise ValueError(
            "Expected a compiled model; call model.compile(...) first."
        )
    element_spec = tf.nest.map_structure(_spec, tuple(batch))
    specs = input_spec.local_specs(element_spec, True, model.views)
    network = model.network
    model.optimizer.build(network.trainable_variables)
    image_bytes = _size(tf.TensorSpec(specs[0].shape, tf.float32))
    batch_bytes = sum(_size(spec) for spec in specs if spec is not None)
    sums = state.microbatches.variables if state.microbatches else []
    return StepMemory(
        weights=_sizes(network.trainable_variables),
        untrained=_sizes(network.non_trainable_variables),
        shadow=_sizes(state.shadow.variables) if state.shadow else 0,
        slots=_sizes(model.optimizer.variables),
        pending=_pending_bytes(model, batch_bytes, image_bytes),
        sums=_sizes(sums),
        batch=batch_bytes,
        temporary=_temporary(model, element_spec, specs)
        if compile_step
        else None,
    )


def _pending_bytes(model, batch_bytes, image_bytes):
    if not model.is_concurrent:
        return 0
    if model.placement == "phased":
        # Two shares wait, three are worked on and have adversarial images.
        return 5 * batch_bytes + 3 * image_bytes
    return batch_bytes + image_bytes


def _temporary(model, element_spec, specs):
    """Bytes of XLA's buffers for the step that are not its arguments."""
    # Generated with TensorFlow's own protocol buffers.
    from tensorflow.compiler.xla.service import hlo_pb2

    state = model._state
    before = state.pending
    try:
        if model.is_concurrent:
            state.pending = model._new_pending(specs, static=True)
        if state.microbatches is not None:
            state.microbatches.is_last = True
        flat = tf.nest.flatten(element_spec)
        step = tf.function(
            lambda *tensors: model.train_step(
                tf.nest.pack_sequence_as(element_spec, tensors)
            ),
            jit_compile=True,
        )
        serialized = step.experimental_get_compiler_ir(*flat)(
            stage="optimized_hlo_proto_serialized", device_name="/device:CPU:0"
        )
    finally:
        state.pending = before
    proto = hlo_pb2.HloProto.FromString(serialized)
    return sum(
        allocation.size
        for allocation in proto.buffer_assignment.buffer_allocations
        if not allocation.is_entry_computation_parameter
        and not allocation.is_thread_local
    )


def _spec(value):
    if isinstance(value, tf.TensorSpec):
        return value
    return tf.TensorSpec.from_tensor(tf.convert_to_tensor(value))


def _size(spec):
    return spec.dtype.size * math.prod(spec.shape.as_list())


def _sizes(variables):
    return sum(_size(variable) for variable in variables)
