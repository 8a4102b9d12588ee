"""Phased placement in pairs: half of the replicas does each of two things.

With `attack_pass="shared"` and half of each batch attacked, the clean images of
a step are as many as the others together. So a replica does one thing a step,
on a batch of its own twice its share of the global batch, for two steps:

    auxiliary    start and adversarial images, half a batch each, through the
                 auxiliary batch norm; crafts the next adversarial ones
    clean        all images, through the main one

and replica r begins where (age + r) mod 2 is 0. Meanwhile it collects its share
of two steps' data, the next batch; no image moves between replicas. With two
of them (x: auxiliary, c: clean):

    age          0   1   2   3   4   5   6  ...
    replica 0    .   .   x   c   x   c   x
    replica 1    .   .   .   x   c   x   c
    update       .   .   .   *   *   *   *

An update is that of `shared_pass`, over all replicas and with one all-reduce,

    L_t = [clean + w (start + adversarial) / 2] / (1 + w),

and trains on as many clean images as a batch of the dataset has. A step is one
forward and one backward pass of one local batch: the speed of plain training
with twice its processors, where an attack pass of its own takes three times as
many (`phased`).

Differs from `shared_pass`: a replica's auxiliary turns are two steps apart, so
that adversarial images are two updates old when they are trained on, tau is
exactly 2; the clean and the start images of an update are of different
batches. In a replica's first auxiliary turn, adversarial images are the
unperturbed ones.

What is said of a `fit` in `phased` holds: the first 3 steps make no update;
the second half of the replicas drops the first share, and the first half its
first start images; what is collected or not yet done with at the end stays
untrained; batches need a static size; batch norms may not be synchronized.
"""

import dataclasses

import tensorflow as tf

from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch import Part
from conadv_tf.steps.batch_spec import BatchSpec
from conadv_tf.steps.one_pass import train_and_ascend
from conadv_tf.steps.options import check_together
from conadv_tf.steps.options import Options
from conadv_tf.steps.phased_batches import PhasedBatches
from conadv_tf.steps.phased_turns import check_statistics_per_replica
from conadv_tf.steps.phased_turns import Crafted
from conadv_tf.steps.phased_turns import Gradients
from conadv_tf.steps.phased_turns import PhasedTurns
from conadv_tf.steps.phased_turns import Turn
from conadv_tf.steps.shared_pass import check_attack

# Of a working batch, which is two shares: the first is attacked.
_ATTACKED = 0.5


class PhasedPairsStep(PhasedTurns):
    """At every step half of the replicas does each of two things; see above.

    Args:
      model: a compiled `ConAdvModel` with an attack of one step.
      loss: what `attacks.loss.single_loss` returned.
    """

    auxiliary = ("start", "adversarial")
    num_turns = 2
    at_once = (
        "half of them train on start and adversarial images and half on clean "
        "ones"
    )

    @staticmethod
    def is_asked_for(options: Options) -> bool:
        """With placement="phased" and attack_pass="shared"."""
        return (options.placement, options.attack_pass) == ("phased", "shared")

    @classmethod
    def check(cls, options: Options, network: tf.keras.Model) -> None:
        """An attack of one step, on half of the images."""
        check_attack(options)
        check_together(
            'placement="phased" and attack_pass="shared"',
            'placement="local"',
            (
                (
                    "adversarial_fraction",
                    options.adversarial_fraction,
                    _ATTACKED,
                    "only then a replica's two turns take equally long",
                ),
                (
                    "start_replaces_clean",
                    options.start_replaces_clean,
                    False,
                    "only then a replica's two turns take equally long",
                ),
                (
                    "views",
                    options.views,
                    1,
                    "a replica's turns are auxiliary, clean",
                ),
            ),
        )
        if options.staleness != 2:
            raise ValueError(
                'Expected staleness=2 with placement="phased" and '
                'attack_pass="shared", where a replica attacks at every '
                f"second step; received {options.staleness}."
            )
        check_statistics_per_replica(network)

    def turns(self, age: tf.Tensor, seed: tf.Tensor) -> list[Turn]:
        """Auxiliary, clean."""

        def auxiliary(
            batch: Batch, crafted: Crafted
        ) -> tuple[Crafted, Gradients]:
            return self._auxiliary(batch, crafted, age, seed)

        def clean(batch: Batch, crafted: Crafted) -> tuple[Crafted, Gradients]:
            return crafted, self.part_gradients(batch, "clean")

        return [auxiliary, clean]

    def _auxiliary(
        self, batch: Batch, crafted: Crafted, age: tf.Tensor, seed: tf.Tensor
    ) -> tuple[Crafted, Gradients]:
        received = dataclasses.replace(
            batch, fraction=_ATTACKED
        ).only_attacked()
        start = self.attack.start(received, seed)
        outputs, gradients, adversarial = train_and_ascend(
            self._model.network,
            self.weighted_loss,
            self.update,
            self.attack,
            {
                "start": received.attacked(start).parts()["adversarial"],
                "adversarial": self._pending(age, crafted, received),
            },
            received,
            seed,
        )

        def record() -> bool:
            self.loss.record(batch, outputs)
            return True

        # The very first start images are in no update.
        tf.cond(age >= self.first_update, record, lambda: False)
        attacked = received.attacked(adversarial)
        return {name: getattr(attacked, name) for name in crafted}, gradients

    def _pending(
        self, age: tf.Tensor, crafted: Crafted, received: Batch
    ) -> Part:
        """The images of the last auxiliary turn, or those of the first."""
        batch = received.unperturbed()
        is_first = age < 2 * self.num_turns
        chosen = {
            name: tf.where(is_first, getattr(batch, name), value)
            for name, value in crafted.items()
        }
        return dataclasses.replace(batch, **chosen).parts()["adversarial"]

    def _new_buffers(self, spec: BatchSpec, static: bool) -> PhasedBatches:
        """One share of two is attacked, and outlives its working batch."""
        return PhasedBatches(spec, self.num_turns, 1, keeps_labels=True)
