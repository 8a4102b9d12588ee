"""What waits between steps: one set of buffers for each kind of data."""

from collections.abc import Callable
from typing import Any
from typing import Optional
from typing import Protocol

import numpy as np
import tensorflow as tf

from conadv_tf.distribution import assign_local
from conadv_tf.steps.batch_spec import BatchSpec


class Buffers(Protocol):
    """What holds batches of one kind: `PendingBatch`, `PhasedBatches`.

    age: int64 local variable; 0 where it holds nothing.
    static_batch_size: of what it holds, or None for any.
    """

    age: tf.Variable
    static_batch_size: Optional[int]

    def variables(self) -> dict[str, tf.Variable]:
        """The variables this keeps, by name."""

    def reset(self) -> None:
        """Forgets everything (in the cross-replica context)."""


class KeptBatches:
    """The buffers for the kind of data that is trained on now.

    Their variables must exist before a step is traced, and only the iterator
    knows their shapes; a model that is trained on several kinds of data keeps
    those of each, because a traced step goes on using its own.

    Args:
      strategy: of the model.
      make: function of a `BatchSpec` and `static` that makes the buffers.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        make: Callable[[BatchSpec, bool], Any],
    ) -> None:
        self._strategy = strategy
        self._make = make
        self._by_spec: dict[BatchSpec, Any] = {}
        self._to_restore: Optional[dict[str, list[np.ndarray]]] = None
        self.current: Any = None

    def select(self, spec: BatchSpec, static: bool) -> None:
        """Makes the buffers of this kind of data the current ones.

        Args:
          spec: the data.
          static: whether buffers have the static size of the spec.

        Raises:
          ValueError: if others hold a batch, or if a checkpoint's do not fit.
        """
        buffers = self._by_spec.get(spec)
        if buffers is None:
            with self._strategy.scope():
                buffers = self._make(spec, static)
            self._by_spec[spec] = buffers
        before = self.current
        if before is not None and before is not buffers and _holds(before):
            remedy = (
                "With jit_compile=True all batches need one size: use "
                "dataset.batch(n, drop_remainder=True)."
                if static
                else "Give all of them images of one shape (of any, where the "
                "network's input leaves it open), labels of one shape and "
                "type, and sample weights to all or none."
            )
            raise ValueError(
                f"The shape of the batches changed between steps to {spec} "
                f"while a batch of another shape was pending. {remedy} To drop "
                "the pending batch on purpose call model.reset_pending()."
            )
        self.current = buffers
        if self._to_restore is not None:
            values, self._to_restore = self._to_restore, None
            self._assign(values)

    def variables(self) -> dict[str, tf.Variable]:
        """The current buffers' variables, by name."""
        return {} if self.current is None else self.current.variables()

    def reset(self) -> None:
        """Forgets all batches (in the cross-replica context)."""
        self._to_restore = None
        for buffers in self._by_spec.values():
            buffers.reset()

    def restore(self, values: dict[str, list[np.ndarray]]) -> None:
        """Takes a checkpoint's batch, once the kind of data is known.

        Args:
          values: {name: an array for each replica}; empty if nothing waited.
        """
        self._to_restore = values or None

    def _assign(self, values: dict[str, list[np.ndarray]]) -> None:
        variables = self.variables()
        if set(variables) != set(values):
            raise ValueError(
                f"Expected a pending batch with {sorted(variables)}; the "
                f"checkpoint has {sorted(values)}. Continue with data of the "
                "same structure."
            )
        for name, variable in variables.items():
            assign_local(self._strategy, variable, values[name])


def _holds(buffers: Buffers) -> bool:
    return bool(buffers.age.read_value().numpy())
