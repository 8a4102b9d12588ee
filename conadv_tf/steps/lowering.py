"""A training step without `fit`, as a function of one batch; its memory.

What Keras calls for each batch of an iterator, without the iterator, which XLA
cannot compile.
"""

from collections.abc import Callable
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.steps.protocol import Step


def step_function(
    model: tf.keras.Model,
    element_spec: Any,
    step: Optional[Step] = None,
    jit_compile: Optional[bool] = None,
) -> Callable[..., dict[str, tf.Tensor]]:
    """The step of a compiled `ConAdvModel` as a function of one batch.

    Args:
      model: compiled `ConAdvModel`; its optimizer gets its slots.
      element_spec: TensorSpecs of (images, labels[, sample_weight]).
      step: what steps, prepared for such a batch; None is the model's own,
        which is prepared here.
      jit_compile: whether XLA compiles it; None is as the model is compiled.

    Returns:
      `tf.function` of the tensors that `element_spec` describes, flat, since
      lowering takes no structures.
    """
    if jit_compile is None:
        jit_compile = keras_internals.jit_compile(model)
    if step is None:
        step = model.step
        step.prepare(element_spec, jit_compile)
    # Variables cannot be made in the trace.
    keras_internals.create_slots(model.optimizer, model.trainable_variables)
    return tf.function(
        lambda *flat: step(
            step.receive(tf.nest.pack_sequence_as(element_spec, flat))
        ),
        jit_compile=jit_compile,
    )


def temporary_bytes(module: Any) -> int:
    """Bytes of a module's buffers that are not its arguments.

    Activations, gradients, results that replace no variable, constants.

    Args:
      module: what `xla_internals.optimized_hlo` returned.
    """
    return sum(
        allocation.size
        for allocation in module.buffer_assignment.buffer_allocations
        if not allocation.is_entry_computation_parameter
        and not allocation.is_thread_local  # Scalars on a stack.
    )
