"""Phased placement: replicas take turns, each does one thing at a step.

What is common to the schedules of `phased` (three turns, a pass of its own for
the attack) and `phased_pairs` (two turns, a shared pass).
"""

import abc
from collections.abc import Callable
import dataclasses
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.attacks import loss as loss_lib
from conadv_tf.steps.attack_pass import AttackPass
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch import Part
from conadv_tf.steps.parts import Outputs
from conadv_tf.steps.parts import PartsLoss
from conadv_tf.steps.pipelined import PipelinedStep

Crafted = dict[str, tf.Tensor]
Gradients = list[Optional[tf.Tensor]]
# What a turn gives: what was crafted last, and gradients; None for none.
Turn = Callable[[Batch, Crafted], tuple[Crafted, Optional[Gradients]]]


class PhasedTurns(PipelinedStep):
    """A step in which replica r takes turn (age + r) mod `num_turns`.

    A working batch is complete at the age of `num_turns`, when the first
    replica begins with turn 0; all have one for all turns at
    2 `num_turns` - 1, with which updates begin.

    Args:
      model: a compiled `ConAdvModel` with an attack.
      loss: what `attacks.loss.single_loss` returned.
    """

    attack: AttackPass
    loss: PartsLoss
    num_turns: int
    # What the replicas do at a step, for the error.
    at_once: str

    @classmethod
    def check_compiled(cls, loss: Any, steps_per_execution: int) -> None:
        """Replicas' losses are weighted as means."""
        loss_lib.check_mean(loss)

    def prepare(self, element_spec: Any, static: bool) -> None:
        """See `Step.prepare`; shapes are always static."""
        super().prepare(element_spec, static=True)

    @abc.abstractmethod
    def turns(self, age: tf.Tensor, seed: tf.Tensor) -> list[Turn]:
        """What a replica does in each turn, with no collective in it.

        Args:
          age: int64 scalar, what `PhasedBatches.clock` returned.
          seed: int64 [2], (run seed, step).

        Returns:
          Functions of the working batch and of what was crafted last.
        """

    @property
    def first_update(self) -> int:
        """The age at which all replicas have a batch for their turn."""
        return 2 * self.num_turns - 1

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """See `Step.__call__`; the batch is the replica's share."""
        guarded, batches = self.update.guarded, self.buffers
        age, turn = batches.clock(batch)
        with tf.control_dependencies([age]):
            seed = self.attack.next_seed()
        self.attack.count_out_of_range(batch)
        statistics = guarded.begin()
        crafted, gradients = self._take_turn(age, turn, seed)
        guarded.apply_gradients(
            self._model.optimizer,
            gradients,
            statistics,
            after=crafted["adversarial"],
            ready=age >= self.first_update,
        )
        batches.advance(age, turn, batch, crafted)
        return self.loss.with_parts(self._model.get_metrics_result())

    def _take_turn(
        self, age: tf.Tensor, turn: tf.Tensor, seed: tf.Tensor
    ) -> tuple[Crafted, Gradients]:
        """Does what the turn says.

        Returns:
          (what was crafted last, gradients): gradients are zeros where the
          turn has none, None for weights that none has.
        """
        weights = self._model.network.trainable_variables
        has_gradient = [False] * len(weights)
        batch, crafted = self.buffers.working(), self.buffers.crafted()

        def branch(take: Turn) -> Callable[[], tuple[Crafted, Gradients]]:
            def run() -> tuple[Crafted, Gradients]:
                kept, gradients = take(batch, crafted)
                full = [tf.zeros(v.shape, v.dtype) for v in weights]
                for index, gradient in enumerate(gradients or []):
                    if gradient is not None:
                        has_gradient[index] = True
                        full[index] = tf.convert_to_tensor(gradient)
                return kept, full

            return run

        def wait(batch: Batch, crafted: Crafted) -> tuple[Crafted, None]:
            return crafted, None

        # Nothing to do before there is a batch for it.
        first = tf.where(tf.equal(turn, 0), self.num_turns, self.first_update)
        index = tf.where(age >= tf.cast(first, age.dtype), turn, self.num_turns)
        crafted, gradients = tf.switch_case(
            index, [branch(take) for take in (*self.turns(age, seed), wait)]
        )
        return crafted, [
            gradient if known else None
            for gradient, known in zip(gradients, has_gradient)
        ]

    def part_gradients(self, batch: Batch, name: str) -> Gradients:
        """A replica's share of the gradients of an update, from one part.

        Args:
          batch: `Batch` with that part.
          name: of the part.

        Returns:
          List of tensors, None where a weight has no part in it. See
          `weighted_loss` for their sum. Changes moving statistics and metrics.
        """
        with tf.GradientTape() as tape:
            outputs = self.weighted_loss({name: batch.parts()[name]})
        self.loss.record(batch, outputs)
        if name == "clean":
            keras_internals.update_compiled_metrics(
                self._model,
                batch.labels,
                outputs.logits[name],
                batch.sample_weight,
            )
        return self.update.gradients(tape, outputs.loss)

    def weighted_loss(self, parts: dict[str, Part]) -> Outputs:
        """What `loss` returns of the parts of a turn, with another weight.

        Returns:
          `Outputs` whose loss has a gradient that is, summed over all
          replicas, that of the mean loss of the replicas with these parts,
          times their share.
        """
        outputs = self.loss(parts)
        # Keras divided by the number of all replicas; a few have the part.
        return dataclasses.replace(outputs, loss=outputs.loss * self.num_turns)

    def train_function(
        self, make: Callable[[], Callable[[Any], Any]]
    ) -> Callable[[Any], Any]:
        """See `Step.train_function`; checks the number of replicas."""
        count = self._model.distribute_strategy.num_replicas_in_sync
        if count % self.num_turns:
            raise ValueError(
                f"Expected a multiple of {self.num_turns} replicas to train in "
                f"phased placement, where at every step {self.at_once}; "
                f'received {count}. Use placement="local" or another number of '
                "replicas."
            )
        return super().train_function(make)


def check_statistics_per_replica(network: tf.keras.Model) -> None:
    """Raises a ValueError if batch norms of a network are synchronized."""
    synchronized = [
        layer.name
        for layer in keras_internals.flatten_layers(network)
        if getattr(layer, "synchronized", False)
        or isinstance(layer, keras_internals.SyncBatchNormalization)
    ]
    if synchronized:
        raise ValueError(
            "Expected batch norms with statistics per replica in phased "
            "placement, where only some of the replicas run a branch at a "
            f"time; {synchronized} are synchronized. A local batch is several "
            "times the share there: statistics of one replica may do."
        )
