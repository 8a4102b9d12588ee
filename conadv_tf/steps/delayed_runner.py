"""The run-time part of `delayed`: plain steps, then another runner's."""

from collections.abc import Callable
import dataclasses
import logging
from typing import Any
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf.attacks import loss as loss_lib
from conadv_tf.distribution import assign_local
from conadv_tf.distribution import local_values
from conadv_tf.distribution import local_variable
from conadv_tf.networks import variables as variables_lib
from conadv_tf.steps.attack_check import check_attack
from conadv_tf.steps.attack_pass import AttackPass
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.context import TrainingContext
from conadv_tf.steps.epoch_accuracy import EpochAccuracy
from conadv_tf.steps.plain import Plain
from conadv_tf.steps.runner import StepRunner

_GROUP = "delayed"


class DelayedRunner(StepRunner):
    """Runs plain steps until the attack starts, then another runner's steps.

    `loss`, `update`, `shadow`, `labels` and `is_in_fit` are read from the
    runner of the current phase.

    Args:
      step: the `Delayed` step with the options.
      context: the `TrainingContext`.
    """

    # A training function for each phase.
    num_traces = 2

    def __init__(self, step: Any, context: TrainingContext) -> None:
        self.step = step
        self.context = context
        others = {id(b) for _, b in variables_lib.branch_pairs(context.network)}
        self._plain: StepRunner = Plain(microbatches=step.microbatches).build(
            dataclasses.replace(
                context,
                attack=None,
                weights=[
                    weight
                    for weight in context.network.trainable_variables
                    if id(weight) not in others
                ],
            )
        )
        # Checks images from the first step on.
        self.attack = self._checks = AttackPass(
            context.attack,
            loss_lib.attack_loss(context.loss),
            context.seed,
            context.network,
        )
        self._attacking: Optional[StepRunner] = None
        self._accuracy: Optional[EpochAccuracy] = None
        if step.accuracy is not None:
            self._accuracy = EpochAccuracy(context.accuracy)
            self._plain.loss.epoch_accuracy = self._accuracy
        self._epochs = local_variable(tf.constant(0, tf.int64), "epochs")
        self._started = local_variable(tf.constant(0, tf.int64), "started")
        self._checked: Any = None  # Element spec that both phases can use.
        # Built now, to raise errors now instead of after epochs of training.
        self._built: Optional[StepRunner] = step.step.build(context)

    @property
    def has_started(self) -> bool:
        """Whether the next step attacks."""
        return self._attacking is not None

    @property
    def _phase(self) -> StepRunner:
        return self._attacking or self._plain

    def __getattr__(self, name: str) -> Any:
        """Reads the attributes that the class's docstring names."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._phase, name)

    # --- The decision -------------------------------------------------------

    def end_epoch(self, logs: dict[str, Any]) -> None:
        """Logs whether the epoch was attacked; starts the attack if it is due.

        Args:
          logs: the logs of the epoch, which get `attacked`, 0.0 or 1.0.
        """
        logs["attacked"] = float(self._attacking is not None)
        if self._attacking is not None:
            return
        with self.context.strategy.scope():
            self._epochs.assign_add(1)
            accuracy = None
            if self._accuracy is not None:
                accuracy = self._accuracy.result()
                self._accuracy.reset()
            # With micro-batches an update may extend over the end of an epoch.
            if not self._plain.has_pending() and self._is_due(accuracy):
                self._start(accuracy)

    def _is_due(self, accuracy: Optional[float]) -> bool:
        """Returns whether all conditions hold."""
        step = self.step
        pairs = (
            (step.accuracy, accuracy),
            (step.epoch, self._epochs.read_value().numpy()),
            (step.update, self.context.optimizer.iterations.numpy()),
        )
        return all(low is None or value >= low for low, value in pairs)

    def _start(self, accuracy: Optional[float]) -> None:
        strategy = self.context.strategy
        for main, other in variables_lib.branch_pairs(self.context.network):
            assign_local(strategy, other, local_values(strategy, main))
        before = {**self._plain.update.variables(), **self._checks.variables()}
        self._build_attacking()
        attacking = self._phase
        found = attacking.variables()
        for name, variable in before.items():
            values = local_values(strategy, variable)
            assign_local(strategy, found[name], values)
        attacking.reset()
        attacking.labels = self._plain.labels
        logging.getLogger(__name__).info(
            f"The attack starts after {self._epochs.read_value().numpy()} "
            f"epochs and {self.context.optimizer.iterations.numpy()} updates"
            + ("." if accuracy is None else f", at accuracy {accuracy:.4f}.")
        )

    def _build_attacking(self) -> None:
        self._attacking = self._new_attacking()
        self.attack = self._attacking.attack
        self._started.assign(1)

    def _new_attacking(self) -> StepRunner:
        """Returns the runner that is built already, or else another one."""
        runner, self._built = self._built, None
        runner = runner or self.step.step.build(self.context)
        runner.batch_size_hint = self.batch_size_hint
        return runner

    # --- What the runner of the phase does ----------------------------------

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Executes one training step of one replica."""
        return self._phase(batch)

    def train_on(self, data: Any) -> dict[str, tf.Tensor]:
        """Executes `train_step`, in `fit` only."""
        if not self._phase.is_in_fit:
            raise ValueError(
                "Expected fit with step=ca.Delayed(...), which decides at the "
                "end of an epoch whether the attack starts; received a call of "
                "train_step. In a custom training loop use another step."
            )
        logs = self(self._phase.receive(data))
        if self._attacking is None:
            # With the attack's value range, which the plain phase ignores.
            # Afterwards, so that the operations of plain training are traced
            # in the same order as without a later attack.
            self._checks.count_out_of_range(self.receive(data))
        return logs

    def train_function(
        self, make: Callable[[], Callable[[Any], Any]]
    ) -> Callable[[Any], Any]:
        """Returns the training function, which changes with the phase."""
        self.step.step.check_strategy(self.context.strategy)
        functions: dict[StepRunner, Callable[[Any], Any]] = {}

        def run(iterator: Any) -> Any:
            phase = self._phase
            if phase is self._plain and iterator.element_spec != self._checked:
                # Raises errors now instead of after epochs of training.
                self._checked = iterator.element_spec
                with self.context.strategy.scope():
                    runner = self._new_attacking()
                runner.prepare(self._checked, self.context.jit_compile)
                check_attack(self._checks, self.context, self._checked)
            if phase not in functions:
                functions[phase] = phase.train_function(make)
            return functions[phase](iterator)

        return run

    def prepare(self, element_spec: Any, static: bool) -> None:
        """Creates the state that depends on the data."""
        self._phase.prepare(element_spec, static)

    def variables(self) -> dict[str, tf.Variable]:
        """Returns all variables; the group of the decision is "delayed"."""
        checks = {} if self._attacking else self._checks.variables()
        return {**self._phase.variables(), **checks, **self._own_variables()}

    def saved_variables(self) -> dict[str, tf.Variable]:
        """Returns the variables that a checkpoint needs."""
        return {**self._phase.saved_variables(), **self._own_variables()}

    def _own_variables(self) -> dict[str, tf.Variable]:
        own = {"epochs": self._epochs, "started": self._started}
        if self._accuracy is not None:
            own |= self._accuracy.variables()
        return {f"{_GROUP}/{name}": each for name, each in own.items()}

    def begin_fit(self, *args: Any) -> None:
        """Continues with the state of the last `fit`."""
        self._phase.begin_fit(*args)
        self.batch_size_hint = self._phase.batch_size_hint
        if self._accuracy is not None:  # The last epoch may be incomplete.
            self._accuracy.reset()

    def has_pending(self) -> bool:
        """Returns whether a batch waits for its update; on the host."""
        return self._phase.has_pending()

    def reset(self) -> None:
        """Clears state between steps. An attack that has started goes on."""
        self._phase.reset()

    def restore(self, values: dict[str, list[np.ndarray]]) -> None:
        """Assigns the variables from a checkpoint, and its phase."""
        strategy = self.context.strategy
        own = self._own_variables()
        with strategy.scope():
            self._attacking, self.attack = None, self._checks
            if values[f"{_GROUP}/started"][0]:
                self._build_attacking()
        self._phase.restore(values)
        for name, variable in own.items():
            assign_local(strategy, variable, values[name])
