"""The run-time part of a training step.

Checkpoints, memory accounting, resets and `ConAdvModel` know a step only by
the interface of `StepRunner`.
"""

import abc
from collections.abc import Callable
from typing import Any
from typing import ClassVar
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf.attacks import loss as loss_lib
from conadv_tf.distribution import assign_local
from conadv_tf.steps import batch as batch_lib
from conadv_tf.steps import batch_spec
from conadv_tf.steps import losses
from conadv_tf.steps.attack_pass import AttackPass
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.context import TrainingContext
from conadv_tf.steps.shadow_weights import ShadowWeights
from conadv_tf.steps.update import FiniteUpdate

# First part of the names of the variables that hold pending batches.
PENDING = "pending"


class StepRunner(abc.ABC):
    """Executes the training steps of one compiled model.

    `compile` builds a new one under the strategy scope. A subclass defines
    `__call__`. If it keeps variables, it also extends `variables` and `reset`,
    and `prepare` if their shapes depend on the data.

    Attributes:
      step: the `Step` with the options.
      context: the `TrainingContext`.
      loss: the `losses.Loss` of a batch.
      update: the `FiniteUpdate` of the weights.
      attack: the `AttackPass`, or None.
      shadow: the `ShadowWeights` that attacks read; None if they read the
        current weights.
      batch_size_hint: local batch size, if `fit` knows it; else None.
      labels: TensorSpec of a batch of labels, once a step is traced.
      is_in_fit: whether Keras's training function calls the step.
    """

    # Variable groups that no checkpoint needs: each step writes them before it
    # reads them, or the host has read them.
    unsaved: ClassVar[tuple[str, ...]] = ("out_of_range",)
    # Sub-batches that go through the auxiliary batch norm.
    auxiliary: ClassVar[tuple[str, ...]] = ("adversarial",)
    # Number of traces of the step that alternate, by `next_trace`.
    num_traces: ClassVar[int] = 1

    def __init__(self, step: Any, context: TrainingContext) -> None:
        self.step = step
        self.context = context
        self.batch_size_hint: Optional[int] = None
        self.labels: Optional[tf.TensorSpec] = None
        self.is_in_fit = False
        self.shadow: Optional[ShadowWeights] = None
        self.attack: Any = None
        parts = context.network, context.metrics
        self.loss: losses.Loss = losses.SingleLoss(*parts)
        if context.attack is not None:
            self.loss = losses.CompositeLoss(
                *parts,
                losses.loss_shares(context.views, step.weight, self.auxiliary),
                context.accuracy,
                context.strategy.num_replicas_in_sync,
            )
            self.attack = AttackPass(
                context.attack,
                loss_lib.attack_loss(context.loss),
                context.seed,
                context.network,
            )
        self.update = FiniteUpdate(
            context.network, context.optimizer, self.loss, context.weights
        )
        self._has_variables = False

    @abc.abstractmethod
    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Executes one training step of one replica.

        Args:
          batch: the local `Batch`.

        Returns:
          The logs of `fit`.
        """

    def train_on(self, data: Any) -> dict[str, tf.Tensor]:
        """Executes `train_step`, in `fit` or in a training loop of the user.

        Args:
          data: (images, labels[, sample_weight]) of this replica.

        Returns:
          The logs of `fit`.

        Raises:
          ValueError: if only `fit` can execute this step.
        """
        return self(self.receive(data))

    def receive(self, data: Any) -> Batch:
        """Returns the local `Batch` of the data that Keras passes."""
        context = self.context
        batch = batch_lib.unpack(
            context.unnamed(data),
            context.views,
            self.static_batch_size(),
            context.network.inputs[0].shape,
            getattr(context.attack, "value_range", None),
            self.step.fraction,
        )
        self.labels = tf.TensorSpec(batch.labels.shape, batch.labels.dtype)
        return batch

    def static_batch_size(self) -> Optional[int]:
        """Returns the static size of a received batch, or None."""
        return None

    # --- State --------------------------------------------------------------

    def prepare(self, element_spec: Any, static: bool) -> None:
        """Creates the state that depends on the data.

        Keras's training function calls it before each call, so it must not
        create a variable twice. In a custom loop only `PipelinedRunner` does.

        Args:
          element_spec: element spec of the iterator.
          static: whether XLA needs static shapes.

        Raises:
          ValueError: if the data do not fit the pending batch.
        """
        return

    def variables(self) -> dict[str, tf.Variable]:
        """Returns all variables by a name that is equal in all processes."""
        found = self.update.variables()
        if self.attack is not None:
            found.update(self.attack.variables())
        if self.shadow is not None:
            found.update(self.shadow.variables())
        return found

    def saved_variables(self) -> dict[str, tf.Variable]:
        """Returns the variables that a checkpoint needs."""
        return {
            name: variable
            for name, variable in self.variables().items()
            if group_of(name) not in self.unsaved
        }

    def begin_fit(
        self, x: Any, batch_size: Optional[int], validation_split: Any
    ) -> None:
        """Sets `batch_size_hint`; continues with the state of the last `fit`.

        The arguments are those of `fit`. Call it in cross-replica context.
        """
        replicas = self.context.strategy.num_replicas_in_sync
        self.batch_size_hint = batch_spec.array_batch_size(
            x, batch_size, validation_split, replicas
        )
        if self.shadow is not None:
            self.shadow.finalize()
        if self.attack is not None and not self._has_variables:
            self.attack.reset(self.context.optimizer.iterations.read_value())

    def has_pending(self) -> bool:
        """Returns whether a batch waits for its update; on the host."""
        return False

    def reset(self) -> None:
        """Clears state between steps (call in cross-replica context)."""
        if self.shadow is not None:
            self.shadow.finalize()
        if self.attack is not None:
            self.attack.reset(self.context.optimizer.iterations.read_value())

    def restore(self, values: dict[str, list[np.ndarray]]) -> None:
        """Assigns the variables from a checkpoint.

        Args:
          values: {name: one array for each replica of this process}.

        Raises:
          ValueError: if another step or number of replicas wrote it.
        """
        strategy = self.context.strategy
        with strategy.scope():
            self.reset()
        own = {
            name: variable
            for name, variable in self.saved_variables().items()
            if group_of(name) != PENDING
        }
        missing = sorted(set(own) - set(values))
        if missing:
            raise ValueError(
                f"Expected a checkpoint with {missing}; received one with "
                f"{sorted(values)}, of another attack or step. Build the model "
                "with the same ones, or start with an empty folder."
            )
        for name, variable in own.items():
            assign_local(strategy, variable, values[name])

    # --- Functions that Keras calls -----------------------------------------

    def train_function(
        self, make: Callable[[], Callable[[Any], Any]]
    ) -> Callable[[Any], Any]:
        """Returns the function that Keras calls with an iterator.

        It creates all variables before the first trace, because a trace that
        creates variables is made twice, and a conditional may not create any.

        Args:
          make: makes Keras's own training function, untraced; each call makes
            a new one.
        """
        functions = [make() for _ in range(self.num_traces)]

        def run(iterator: Any) -> Any:
            if not self._has_variables:
                with self.context.strategy.scope():
                    self._create_variables(iterator.element_spec)
                self._has_variables = True
            self.prepare(iterator.element_spec, self.context.jit_compile)
            function = functions[self.next_trace()]
            self.is_in_fit = True
            try:
                result = function(iterator)
            finally:
                self.is_in_fit = False
            self.finish_call()
            return result

        return run

    def next_trace(self) -> int:
        """Returns the index of the trace that the next call executes."""
        return 0

    def finish_call(self) -> None:
        """Updates the host's state after a call of the training function."""
        return

    def end_epoch(self, logs: dict[str, Any]) -> None:
        """Updates the host's state, and the logs, at the end of an epoch."""
        return

    def as_function(
        self, element_spec: Any, jit_compile: Optional[bool] = None
    ) -> Callable[..., dict[str, tf.Tensor]]:
        """Returns the step as a function of one batch, which can be lowered.

        Args:
          element_spec: TensorSpecs of (images, labels[, sample_weight]).
          jit_compile: whether XLA compiles the function; None is the setting
            of the model.

        Returns:
          `tf.function` of the flat list of tensors in `element_spec`.
        """
        if jit_compile is None:
            jit_compile = self.context.jit_compile
        self.prepare(element_spec, jit_compile)
        # A trace may not create variables.
        self.update.create_slots()
        return tf.function(
            lambda *flat: self(
                self.receive(tf.nest.pack_sequence_as(element_spec, flat))
            ),
            jit_compile=jit_compile,
        )

    def _create_variables(self, element_spec: Any) -> None:
        self.update.create_slots()
        labels = self.context.labels_spec(element_spec)
        if labels is not None:
            self.context.metrics.build(
                tf.constant(batch_spec.example_labels(labels)),
                tf.zeros([1, *self.context.network.outputs[0].shape[1:]]),
            )


def group_of(name: str) -> str:
    """Returns the group of a variable that `StepRunner.variables` names."""
    return name.partition("/")[0]
