"""Phased placement: at every step a third of the replicas does each thing.

In local placement a replica attacks one batch and trains on both parts of
another: 8/3 of the arithmetic of plain training. Here it does one thing a
step, on a batch of its own three times its share of the global batch, for
three steps:

    attack        x_hat <- attack on x with theta_t, auxiliary batch norm
    adversarial   gradient of L(theta_t+1; x_hat, y), auxiliary batch norm
    clean         gradient of L(theta_t+2; x, y), main batch norm

and replica r begins with the attack where (age + r) mod 3 is 0. Meanwhile it
collects its share of three steps' data, the next batch; no image moves between
replicas. With three of them (A: attack, a: adversarial, c: clean):

    age          0   1   2   3   4   5   6   7   8   9  ...
    replica 0    .   .   .   A   .   c   A   a   c   A
    replica 2    .   .   .   .   A   a   c   A   a   c
    replica 1    .   .   .   .   .   A   a   c   A   a
    update       .   .   .   .   .   *   *   *   *   *

An update is Eq. (4) of Liu et al. 2022 (arXiv 2106.00221) over all replicas,

    g <- 1/2 [mean over the clean replicas + mean over the adversarial ones],

(or the shares of `adversarial_weight`) with one all-reduce, to which
attackers give zeros. As a third of the replicas
holds three shares each, an update trains on as many images as a batch of the
dataset has. Differs from the paper: the clean and the adversarial half of an
update are of different images; each image has its adversarial gradient one
update before its clean one. tau is exactly 1.

What this means for a `fit`:

- Every image is trained on once adversarial and once clean, but for the ends.
  At the start, shares that come before a replica's first attack phase are
  dropped (two thirds of the replicas; one global batch in all), and replica
  0's first adversarial gradient, which has no clean one to go with. At the
  end, what is collected or not yet done with stays untrained.
- The first 5 steps make no update and `iterations` stand still; then there is
  one a step. Metrics of those steps are 0.
- `loss` and the parts' losses and accuracies are means over the images that
  were trained on, in the replicas that did it.
- Random starts are keyed by (seed, step) and by the position in the
  concatenation of all replicas' working batches: repeatable, but another
  number of replicas draws other numbers.
- Moving statistics of a replica change at every third step, by a batch three
  times as large, and are averaged over all replicas as ever.
- There is no shadow copy: gradients leave the conditional before the update,
  which waits for the attack, so the attack reads theta_t as it is.
- No collective stands in a branch: that is why batches need a static size and
  batch norms may not be synchronized.
"""

import tensorflow as tf

from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch_spec import BatchSpec
from conadv_tf.steps.options import check_together
from conadv_tf.steps.options import Options
from conadv_tf.steps.phased_batches import PhasedBatches
from conadv_tf.steps.phased_turns import check_statistics_per_replica
from conadv_tf.steps.phased_turns import Crafted
from conadv_tf.steps.phased_turns import Gradients
from conadv_tf.steps.phased_turns import PhasedTurns
from conadv_tf.steps.phased_turns import Turn


class PhasedStep(PhasedTurns):
    """At every step a third of the replicas does each thing; see above.

    Args:
      model: a compiled `ConAdvModel` with an attack.
      loss: what `attacks.loss.single_loss` returned.
    """

    num_turns = 3
    at_once = (
        "a third attacks, a third trains on adversarial images and a third on "
        "clean ones"
    )

    @staticmethod
    def is_asked_for(options: Options) -> bool:
        """With placement="phased"."""
        return options.placement == "phased"

    @classmethod
    def check(cls, options: Options, network: tf.keras.Model) -> None:
        """One attack, one view, one batch an update, statistics per replica."""
        if options.attack is None:
            raise ValueError(
                'Expected an attack with placement="phased", which has '
                "replicas that do nothing but attack; received None. Plain "
                'training has placement="local".'
            )
        check_together(
            'placement="phased"',
            'placement="local"',
            (
                (
                    "adversarial_fraction",
                    options.adversarial_fraction,
                    1,
                    "a replica's three turns take equally long on one batch",
                ),
                (
                    "staleness",
                    options.staleness,
                    1,
                    "what a replica attacks it trains on in its next step",
                ),
                (
                    "views",
                    options.views,
                    1,
                    "a replica's turns are attack, adversarial, clean",
                ),
                (
                    "microbatches",
                    options.microbatches,
                    1,
                    "each step makes an update",
                ),
            ),
        )
        check_statistics_per_replica(network)

    def turns(self, age: tf.Tensor, seed: tf.Tensor) -> list[Turn]:
        """Attack, adversarial, clean."""

        def attack(batch: Batch, crafted: Crafted) -> tuple[Crafted, None]:
            images = self.attack.craft(
                self._model.network, batch.to_attack(), seed
            )
            return {"adversarial": images}, None

        def adversarial(
            batch: Batch, crafted: Crafted
        ) -> tuple[Crafted, Gradients]:
            attacked = batch.attacked(crafted["adversarial"])
            return crafted, self.part_gradients(attacked, "adversarial")

        def clean(batch: Batch, crafted: Crafted) -> tuple[Crafted, Gradients]:
            return crafted, self.part_gradients(batch, "clean")

        return [attack, adversarial, clean]

    def _new_buffers(self, spec: BatchSpec, static: bool) -> PhasedBatches:
        """All of a working batch is attacked, and trained on next."""
        return PhasedBatches(
            spec, self.num_turns, self.num_turns, keeps_labels=False
        )
