"""Updates over several micro-batches, for large batches on few devices.

Each micro-batch takes the place of one replica of an emulated machine. It has
its own batch statistics and its own attack.
"""

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from conadv_tf.attacks import loss as loss_lib
from conadv_tf.distribution import random
from conadv_tf.networks import variables as variables_lib
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.context import TrainingContext
from conadv_tf.steps.gradient_sums import GradientSums
from conadv_tf.steps.runner import StepRunner
from conadv_tf.steps.shadow_weights import ShadowWeights
from conadv_tf.steps.step import check_integer
from conadv_tf.steps.step import Step


class MicrobatchedRunner(StepRunner):
    """Sums gradients over micro-batches; the last one makes the update.

    A micro-batch is attacked with theta_t-tau just before it is trained on.
    The updates are equal to `ConcurrentRunner`'s, in sequence, and no global
    batch is stored. The shadow weights change with the last micro-batch.

    Args:
      step: the `Step` with the options.
      context: the `TrainingContext`.
    """

    # One trace without an update at its end, one with it.
    num_traces = 2

    def __init__(self, step: Any, context: TrainingContext) -> None:
        super().__init__(step, context)
        self._count = step.microbatches
        self._sums = GradientSums(
            self.update.weights,
            variables_lib.statistics(context.network),
            self._count,
        )
        if step.staleness:
            self.shadow = ShadowWeights(context.network, step.staleness)
        # The host counts the micro-batches.
        self._is_last = True
        self._next = 0

    def train_on(self, data: Any) -> dict[str, tf.Tensor]:
        """Executes `train_step`, in `fit` only."""
        if not self.is_in_fit:
            raise ValueError(
                "Expected fit or train_on_batch with micro-batches, which "
                "count them; received a call of train_step. In a custom "
                "training loop use microbatches=1."
            )
        return self(self.receive(data))

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Adds the gradients of one micro-batch; updates after the last."""
        if self.attack is not None:
            batch = self._attacked(batch)
        update = self.update
        statistics = update.snapshot_statistics()
        with tf.GradientTape() as tape:
            outputs = self.loss(batch.sub_batches())
        gradients = update.gradients(tape, outputs.loss)
        gradients, mean = self._sums.add(
            gradients, statistics, update.snapshot_statistics()
        )
        if self._is_last:
            self._sums.finish()
            update.restore_statistics(mean)
            update.apply_gradients(gradients, statistics, after=outputs.loss)
        else:
            update.restore_statistics(statistics)
        return self.loss.logs(batch, outputs)

    def _attacked(self, batch: Batch) -> Batch:
        attack, attacked = self.attack, batch.attacked_sub_batch()
        size = tf.shape(attacked.images)[0]
        with random.global_position_scope(self._sums.first_position(size)):
            seed = attack.next_seed(self._is_last)
            attack.count_out_of_range(batch)
            if self.shadow is None:
                return batch.with_adversarial(
                    attack.generate(self.context.network, attacked, seed)
                )
            updates = self._sums.updates()
            # `ConcurrentRunner` attacks one step before it trains.
            seed -= [0, 1]
            adversarial = attack.generate(self.shadow.network, attacked, seed)
            # The first update has a zero perturbation, as when no batch is
            # pending.
            adversarial = tf.where(updates > 0, adversarial, attacked.images)
            if self._is_last:
                self.shadow.refresh(updates)
            return batch.with_adversarial(adversarial)

    def variables(self) -> dict[str, tf.Variable]:
        """Returns all variables; the group of the sums is "microbatches"."""
        sums = self._sums.variables().items()
        return {
            **super().variables(),
            **{f"microbatches/{name}": variable for name, variable in sums},
        }

    def has_pending(self) -> bool:
        """Returns whether there are sums that no update has used."""
        return self._next != 0

    def reset(self) -> None:
        """Clears state carried between steps, the sums included."""
        super().reset()
        self._sums.reset()
        self._next = 0

    def restore(self, values: dict[str, list[np.ndarray]]) -> None:
        """Assigns the variables, and counts on from the checkpoint."""
        super().restore(values)
        self._next = self._sums.next_index

    def next_trace(self) -> int:
        """Returns 1 for the last micro-batch of an update, else 0."""
        self._is_last = self._next == self._count - 1
        return int(self._is_last)

    def finish_call(self) -> None:
        """Counts a micro-batch."""
        self._next = (self._next + 1) % self._count


@dataclasses.dataclass(frozen=True, kw_only=True)
class MicrobatchedStep(Step):
    """A step type that can make one update of several batches of the dataset.

    Attributes:
      microbatches: number of batches of the dataset per update, >= 1. Each is
        attacked and normalized by itself, like the batch of one of that many
        replicas, and their gradients are averaged.

    Raises:
      ValueError: if `microbatches` is no integer >= 1.
    """

    microbatches: int = 1

    def __post_init__(self) -> None:
        """Checks the options."""
        super().__post_init__()
        check_integer("microbatches", self.microbatches, 1)

    def check_compiled(self, loss: Any, steps_per_execution: int) -> None:
        """Refuses a sum and several steps per call with micro-batches."""
        super().check_compiled(loss, steps_per_execution)
        if self.microbatches == 1:
            return
        loss_lib.check_mean(
            loss,
            f"ca.{type(self).__name__}(microbatches={self.microbatches})",
            "which averages the gradients of its batches",
        )
        if steps_per_execution != 1:
            raise ValueError(
                "Expected steps_per_execution=1 with micro-batches, several "
                f"of which make one update; received {steps_per_execution}. "
                "Compile with steps_per_execution=1, or use microbatches=1."
            )

    def build(self, context: TrainingContext) -> StepRunner:
        """Returns the run-time part, a `StepRunner`."""
        if self.microbatches > 1:
            owner = next(c for c in type(self).__mro__ if "runner" in vars(c))
            if not owner.__module__.startswith("conadv_tf."):
                raise ValueError(
                    f"Expected microbatches=1 with {owner.__name__}, whose "
                    "runner does not sum gradients over micro-batches; "
                    f"received {self.microbatches}. Override build to return "
                    "a runner that does."
                )
            return MicrobatchedRunner(self, context)
        return super().build(context)
