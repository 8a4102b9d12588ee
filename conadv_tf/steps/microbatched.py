"""An update over several micro-batches: a large batch on few devices.

Each micro-batch stands for the batch of one replica of an emulated machine:
batch statistics and attacks are its own.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from conadv_tf.distribution import random
from conadv_tf.networks import variables as variables_lib
from conadv_tf.steps.attack_pass import AttackPass
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.gradient_sums import GradientSums
from conadv_tf.steps.options import Options
from conadv_tf.steps.protocol import Step
from conadv_tf.steps.shadow_weights import ShadowWeights


class MicroBatchedStep(Step):
    """Sums gradients over batches; the last one of an update makes it.

    A micro-batch is attacked with theta_t-tau when it is trained on: the same
    updates as `ConcurrentStep`'s, in sequence, so that no global batch is held
    anywhere. The shadow changes with the last micro-batch of an update.

    Args:
      model: a compiled `ConAdvModel`.
      loss: what `attacks.loss.single_loss` returned.
    """

    def __init__(self, model: tf.keras.Model, loss: Any) -> None:
        super().__init__(model, loss)
        self._count = model.microbatches
        self._sums = GradientSums(
            model.network.trainable_variables,
            variables_lib.moving_statistics(model.network),
            self._count,
        )
        if model.attack is not None and model.staleness:
            self.shadow = ShadowWeights(model.network, model.staleness)
        # Known on the host: the step is traced once with and once without
        # an update at its end.
        self._is_last = True
        self._is_counting = False
        self._next = 0

    @staticmethod
    def is_asked_for(options: Options) -> bool:
        """With several micro-batches, whatever the method."""
        return options.microbatches > 1

    @classmethod
    def check_compiled(cls, loss: Any, steps_per_execution: int) -> None:
        """The host counts micro-batches between calls."""
        if steps_per_execution != 1:
            raise ValueError(
                "Expected steps_per_execution=1 with micro-batches, several "
                f"of which make one update; received {steps_per_execution}."
            )

    def train_on(self, data: Any) -> dict[str, tf.Tensor]:
        """See `Step.train_on`."""
        if not self._is_counting:
            raise ValueError(
                "Expected fit or train_on_batch with micro-batches, which "
                "count them; received a call of train_step. In a loop of your "
                "own use microbatches=1."
            )
        return super().train_on(data)

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """See `Step.__call__`; the update is that of `Update`, summed."""
        if self.attack is not None:
            batch = self._attacked(self.attack, batch)
        guarded = self.update.guarded
        statistics = guarded.begin()
        with tf.GradientTape() as tape:
            outputs = self.loss(batch.parts())
        gradients = self.update.gradients(tape, outputs.loss)
        gradients, mean = self._sums.add(gradients, statistics, guarded.begin())
        if self._is_last:
            self._sums.finish()
            guarded.write_statistics(mean)
            guarded.apply_gradients(
                self._model.optimizer,
                gradients,
                statistics,
                after=outputs.loss,
            )
        else:
            guarded.write_statistics(statistics)
        return self.loss.logs(batch, outputs)

    def _attacked(self, attack: AttackPass, batch: Batch) -> Batch:
        part = batch.to_attack()
        size = tf.shape(part.images)[0]
        with random.global_position_scope(self._sums.first_position(size)):
            seed = attack.next_seed(self._is_last)
            attack.count_out_of_range(batch)
            if self.shadow is None:
                return batch.attacked(
                    attack.craft(self._model.network, part, seed)
                )
            updates = self._sums.updates()
            # Elsewhere attacked one step before it is trained on.
            seed -= [0, 1]
            adversarial = attack.craft(self.shadow.network, part, seed)
            adversarial = tf.where(  # As nothing is pending.
                updates > 0, adversarial, part.images
            )
            if self._is_last:
                self.shadow.refresh(updates)
            return batch.attacked(adversarial)

    def variables(self) -> dict[str, tf.Variable]:
        """See `Step.variables`; the sums are in group "microbatches"."""
        sums = self._sums.variables().items()
        return {
            **super().variables(),
            **{f"microbatches/{name}": variable for name, variable in sums},
        }

    def reset(self) -> None:
        """Forgets what was summed."""
        super().reset()
        self._sums.reset()
        self._next = 0

    def restore(self, values: dict[str, list[np.ndarray]]) -> None:
        """Goes on with the micro-batch that comes next."""
        super().restore(values)
        self._next = self._sums.next_index

    def train_function(
        self, make: Callable[[], Callable[[Any], Any]]
    ) -> Callable[[Any], Any]:
        """One of two of Keras's: with an update at its end, or without."""
        model, functions, traced = self._model, {}, {}
        for is_last in (False, True):
            functions[is_last] = make()
            traced[is_last] = model.train_tf_function

        def run(iterator: Any) -> Any:
            self._is_last = self._next == self._count - 1
            # What TensorBoard takes the graph from, after the first batch.
            model.train_tf_function = traced[self._is_last]
            self._is_counting = True
            try:
                result = functions[self._is_last](iterator)
            finally:
                self._is_counting = False
            self._next = (self._next + 1) % self._count
            return result

        return run
