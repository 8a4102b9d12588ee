"""The batch that is pending between two steps, and steps that keep one."""

import abc
from concurrent import futures
import dataclasses
import logging
from typing import Any
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.distribution import assign_local
from conadv_tf.distribution import local_variable
from conadv_tf.steps import batch_spec
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch_spec import BatchSpec
from conadv_tf.steps.runner import group_of
from conadv_tf.steps.runner import PENDING
from conadv_tf.steps.runner import StepRunner


class BatchBuffers:
    """Local variables that hold batches between steps.

    Create them under the strategy scope and before the step is traced.

    Attributes:
      steps_since_reset: int64 local variable; 0 while the buffers are empty.
      static_batch_size: number of images of a received batch if shapes are
        static, as XLA needs them; None if the buffers take any size.

    Args:
      static_batch_size: the attribute.
    """

    def __init__(self, static_batch_size: Optional[int]) -> None:
        self.static_batch_size = static_batch_size
        self.steps_since_reset = local_variable(
            tf.constant(0, tf.int64), "steps_since_reset"
        )

    def is_empty(self) -> bool:
        """Returns whether the buffers hold no batch; on the host."""
        return not self.steps_since_reset.read_value().numpy()

    def variables(self) -> dict[str, tf.Variable]:
        """Returns the variables by name."""
        return {"steps_since_reset": self.steps_since_reset}

    def reset(self) -> None:
        """Drops all batches (call in cross-replica context)."""
        self.steps_since_reset.assign(tf.constant(0, tf.int64))

    def read_steps(self, received: Batch) -> tf.Tensor:
        """Returns `steps_since_reset`, once the received batch is available.

        At the end of a dataset of unknown length Keras calls the step once
        more without data. Operations that train on the pending batch must then
        wait for data that never arrive, so they depend on this tensor.

        Args:
          received: the `Batch` of this step.

        Returns:
          int64 scalar.
        """
        with tf.control_dependencies([received.images]):
            return tf.identity(self.steps_since_reset)


class PendingBatch(BatchBuffers):
    """The batch that one step receives and attacks; the next one trains on it.

    Args:
      specs: {field of `Batch`: TensorSpec of a local batch, or None for a
        field that is not kept}.
      static_batch_size: the attribute of `BatchBuffers`.
    """

    def __init__(
        self,
        specs: dict[str, Optional[tf.TensorSpec]],
        static_batch_size: Optional[int],
    ) -> None:
        super().__init__(static_batch_size)
        self._fields = {
            name: self._buffer(name, spec)
            for name, spec in specs.items()
            if spec is not None
        }

    def _buffer(self, name: str, spec: tf.TensorSpec) -> tf.Variable:
        size = None if self.static_batch_size is None else spec.shape[0]
        tail = spec.shape[1:]
        return local_variable(
            tf.zeros([size or 0, *(n or 0 for n in tail)], spec.dtype),
            name=f"pending_{name}",
            shape=tf.TensorShape([size, *tail]),
        )

    def variables(self) -> dict[str, tf.Variable]:
        """Returns the variables by name."""
        return {**self._fields, **super().variables()}

    def take(self, steps: tf.Tensor, received: Batch) -> Batch:
        """Returns the batch to train on in this step.

        `tf.cond` chooses it, not `tf.where`, because sizes may differ. One
        trace serves the first step and all others.

        Args:
          steps: the result of `read_steps`.
          received: the `Batch` of this step.

        Returns:
          The pending batch; if none is pending, the received batch with a zero
          perturbation.
        """
        unperturbed = received.with_zero_perturbation()
        stored = [tf.convert_to_tensor(each) for each in self._fields.values()]
        chosen = tf.cond(
            steps > 0,
            lambda: stored,
            lambda: [getattr(unperturbed, name) for name in self._fields],
        )
        fields = dict(zip(self._fields, chosen))
        return dataclasses.replace(unperturbed, **fields)

    def put(self, batch: Batch) -> None:
        """Stores an attacked batch for the next step."""
        for name, buffer in self._fields.items():
            buffer.assign(getattr(batch, name))
        self.steps_since_reset.assign(
            tf.convert_to_tensor(self.steps_since_reset) + 1
        )


class PipelinedRunner(StepRunner):
    """A step that attacks a batch and trains on it in a later step.

    The buffers must exist before a step is traced, and only the iterator knows
    their shapes. A model that trains on several kinds of data has buffers for
    each kind, because a traced step keeps using its own.

    Attributes:
      buffers: the `BatchBuffers` for the current kind of data; None before
        the first data.

    Args:
      step: the `Step` with the options.
      context: the `TrainingContext`.
    """

    def __init__(self, step: Any, context: Any) -> None:
        super().__init__(step, context)
        self.buffers: Any = None
        self._buffers_by_spec: dict[BatchSpec, BatchBuffers] = {}
        self._to_restore: dict[str, list[np.ndarray]] = {}
        self._may_drop = False

    @abc.abstractmethod
    def new_buffers(self, spec: BatchSpec, static: bool) -> BatchBuffers:
        """Returns buffers for one kind of data.

        Args:
          spec: the `BatchSpec` of a local batch.
          static: whether the buffers have the static size of the spec.
        """

    def prepare(self, element_spec: Any, static: bool) -> None:
        """Selects the buffers for the data; creates them if needed.

        Args:
          element_spec: element spec of the iterator.
          static: whether XLA needs static shapes.

        Raises:
          ValueError: if a batch of another shape is pending (`fit` drops it
            at its start), or a checkpoint has one of another structure.
        """
        data = self.context.unnamed(element_spec)
        views, hint = self.context.views, self.batch_size_hint
        spec = batch_spec.local_spec(data, static, views, hint)
        if not static:
            spec = self.widened(spec)
        buffers = self._buffers_by_spec.get(spec)
        if buffers is None:
            with self.context.strategy.scope():
                buffers = self.new_buffers(spec, static)
            self._buffers_by_spec[spec] = buffers
        if self.buffers is not buffers and self.has_pending():
            if not self._may_drop:
                raise _changed_shape(spec, static)
            logging.getLogger(__name__).warning(
                "The pending batch of the last fit is dropped. The batches of "
                f"this fit have another structure or shape: {spec}"
            )
            with self.context.strategy.scope():
                self.buffers.reset()
        self.buffers = buffers
        self._may_drop = False
        values, self._to_restore = self._to_restore, {}
        if values:
            self._assign(values)

    def widened(self, spec: BatchSpec) -> BatchSpec:
        """Returns the spec for images of all sizes that the network takes."""
        return batch_spec.widened(spec, self.context.network.inputs[0].shape)

    def train_on(self, data: Any) -> dict[str, tf.Tensor]:
        """Executes `train_step`; the first data select the buffers."""
        if not self.is_in_fit:
            data = tf.nest.map_structure(tf.convert_to_tensor, data)
            self.prepare_in_trace(data)
        return self(self.receive(data))

    def prepare_in_trace(self, data: Any) -> None:
        """Prepares the step in a training loop of the user."""
        static = keras_internals.is_compiled_by_xla()
        element_spec = tf.nest.map_structure(tf.TensorSpec.from_tensor, data)
        # This thread may be inside a trace, which would own new variables, and
        # a second kind of data could not have any. Another thread is in none.
        with futures.ThreadPoolExecutor(1) as thread:
            thread.submit(self.prepare, element_spec, static).result()

    def static_batch_size(self) -> Optional[int]:
        """Returns the static size of a received batch, or None."""
        return self.buffers.static_batch_size

    def variables(self) -> dict[str, tf.Variable]:
        """Returns all variables; the group of the buffers is "pending"."""
        buffers = {} if self.buffers is None else self.buffers.variables()
        return {
            **super().variables(),
            **{f"{PENDING}/{name}": each for name, each in buffers.items()},
        }

    def begin_fit(self, *args: Any) -> None:
        """Keeps the pending batch if it fits the data of this `fit`."""
        super().begin_fit(*args)
        self._may_drop = True

    def has_pending(self) -> bool:
        """Returns whether a batch is pending; on the host."""
        return self.buffers is not None and not self.buffers.is_empty()

    def reset(self) -> None:
        """Clears state carried between steps; drops pending batches."""
        super().reset()
        self._to_restore = {}
        for buffers in self._buffers_by_spec.values():
            buffers.reset()

    def restore(self, values: dict[str, list[np.ndarray]]) -> None:
        """Assigns the variables from a checkpoint.

        The pending batch is assigned as soon as the data select its buffers.

        Args:
          values: {name: one array for each replica of this process}.

        Raises:
          ValueError: if another step type, or another number of replicas,
            wrote the checkpoint.
        """
        super().restore(values)
        self._to_restore = {
            name.partition("/")[2]: value
            for name, value in values.items()
            if group_of(name) == PENDING
        }

    def _assign(self, values: dict[str, list[np.ndarray]]) -> None:
        variables = self.buffers.variables()
        if set(variables) != set(values):
            raise ValueError(
                f"Expected a pending batch with {sorted(variables)}; the "
                f"checkpoint has {sorted(values)}. Continue with data of the "
                "same structure."
            )
        for name, variable in variables.items():
            assign_local(self.context.strategy, variable, values[name])


def _changed_shape(spec: BatchSpec, static: bool) -> ValueError:
    remedy = (
        "With jit_compile=True all batches need one size: use "
        "dataset.batch(n, drop_remainder=True)."
        if static
        else "Give all batches images of one shape (of any shape, if the "
        "network's input leaves it open), labels of one shape and dtype, and "
        "sample weights to all or none."
    )
    return ValueError(
        f"The shape of the batches changed between steps to {spec} while a "
        f"batch of another shape was pending. {remedy} model.reset_pending() "
        "drops the pending batch."
    )
