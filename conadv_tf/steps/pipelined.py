"""Steps that keep data between them: what one attacks a later one trains on."""

import abc
from collections.abc import Callable
from concurrent import futures
from typing import Any
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.steps import batch_spec
from conadv_tf.steps.batch_spec import BatchSpec
from conadv_tf.steps.kept_batches import KeptBatches
from conadv_tf.steps.protocol import group_of
from conadv_tf.steps.protocol import PENDING
from conadv_tf.steps.protocol import Step


class PipelinedStep(Step):
    """A step with buffers for data, which are made before it is traced.

    Args:
      model: a compiled `ConAdvModel`.
      loss: what `attacks.loss.single_loss` returned.
    """

    def __init__(self, model: tf.keras.Model, loss: Any) -> None:
        super().__init__(model, loss)
        self._kept = KeptBatches(model.distribute_strategy, self._new_buffers)
        self._is_prepared = False

    @abc.abstractmethod
    def _new_buffers(self, spec: BatchSpec, static: bool) -> Any:
        """Buffers for one kind of data; see `kept_batches.Buffers`."""

    @property
    def buffers(self) -> Any:
        """Those for the data that are trained on now; None before any."""
        return self._kept.current

    def prepare(self, element_spec: Any, static: bool) -> None:
        """Makes the buffers; see `Step.prepare`."""
        spec = batch_spec.local_spec(
            element_spec, static, self._model.views, self.batch_size_hint
        )
        if not static:
            spec = self._widened(spec)
        self._kept.select(spec, static)

    def _widened(self, spec: BatchSpec) -> BatchSpec:
        """The spec for images of all sizes that the network takes."""
        return batch_spec.widened(spec, self._model.network.input_shape)

    def train_on(self, data: Any) -> dict[str, tf.Tensor]:
        """See `Step.train_on`; the first data make the buffers."""
        if not self._is_prepared:
            data = tf.nest.map_structure(tf.convert_to_tensor, data)
            self._prepare_for(data)
        return super().train_on(data)

    def _prepare_for(self, data: Any) -> None:
        """Makes the buffers in a loop of a user's own, inside its trace."""
        if self._model.placement != "local":
            raise ValueError(
                "Expected fit or train_on_batch in phased placement; received "
                "a call of train_step. In a loop of your own use "
                'placement="local".'
            )
        static = keras_internals.is_compiled_by_xla()
        element_spec = tf.nest.map_structure(tf.TensorSpec.from_tensor, data)
        # Where this thread traces, variables would become the trace's own, and
        # a second kind of data could have none.
        with futures.ThreadPoolExecutor(1) as thread:
            thread.submit(self.prepare, element_spec, static).result()

    def variables(self) -> dict[str, tf.Variable]:
        """See `Step.variables`; the buffers' are in group "pending"."""
        kept = self._kept.variables().items()
        return {
            **super().variables(),
            **{f"{PENDING}/{name}": variable for name, variable in kept},
        }

    def reset(self) -> None:
        """Forgets the data too."""
        super().reset()
        self._kept.reset()

    def restore(self, values: dict[str, list[np.ndarray]]) -> None:
        """See `Step.restore`; data wait until their kind is known."""
        super().restore(values)
        self._kept.restore(
            {
                name.partition("/")[2]: value
                for name, value in values.items()
                if group_of(name) == PENDING
            }
        )

    def train_function(
        self, make: Callable[[], Callable[[Any], Any]]
    ) -> Callable[[Any], Any]:
        """Keras's, after making the buffers: only the iterator knows them."""
        train_function = make()

        def prepared(iterator: Any) -> Any:
            static = keras_internals.jit_compile(self._model)
            self.prepare(iterator.element_spec, static)
            self._is_prepared = True
            try:
                return train_function(iterator)
            finally:
                self._is_prepared = False

        return prepared

    def _local_batch_size(self) -> Optional[int]:
        return self.buffers.static_batch_size
