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

from typing import Any
from typing import Callable
from typing import Optional

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.attacks import loss as loss_lib
from conadv_tf.batch_norm import batch_norm_branch
from conadv_tf.steps import batch_spec
from conadv_tf.steps.attack_pass import AttackPass
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch_spec import BatchSpec
from conadv_tf.steps.options import check_together
from conadv_tf.steps.options import Options
from conadv_tf.steps.parts import BRANCHES
from conadv_tf.steps.parts import PartsLoss
from conadv_tf.steps.phased_batches import ATTACK
from conadv_tf.steps.phased_batches import check_replicas
from conadv_tf.steps.phased_batches import FIRST_ATTACK
from conadv_tf.steps.phased_batches import FIRST_UPDATE
from conadv_tf.steps.phased_batches import IDLE
from conadv_tf.steps.phased_batches import NUM_PHASES
from conadv_tf.steps.phased_batches import PhasedBatches
from conadv_tf.steps.pipelined import PipelinedStep


class PhasedStep(PipelinedStep):
    """At every step a third of the replicas does each thing; see above.

    Args:
      model: a compiled `ConAdvModel` with an attack.
      loss: what `attacks.loss.single_loss` returned.
    """

    attack: AttackPass
    loss: PartsLoss

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
                (
                    "attack_pass",
                    options.attack_pass,
                    "own",
                    "attacks are a replica's whole turn",
                ),
            ),
        )
        synchronized = [
            layer.name
            for layer in keras_internals.flatten_layers(network)
            if getattr(layer, "synchronized", False)
            or isinstance(layer, keras_internals.SyncBatchNormalization)
        ]
        if synchronized:
            raise ValueError(
                "Expected batch norms with statistics per replica in phased "
                "placement, where only a third of the replicas runs a branch "
                f"at a time; {synchronized} are synchronized. A local batch "
                "is three times the share there: statistics of one replica "
                "may do."
            )

    @classmethod
    def check_compiled(cls, loss: Any, steps_per_execution: int) -> None:
        """Replicas' losses are weighted as means."""
        loss_lib.check_mean(loss)

    def prepare(self, element_spec: Any, static: bool) -> None:
        """See `Step.prepare`; shapes are always static."""
        super().prepare(element_spec, static=True)

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """See `Step.__call__`; the batch is the replica's share."""
        guarded, batches = self.update.guarded, self.buffers
        age, phase = batches.clock(batch)
        with tf.control_dependencies([age]):
            seed = self.attack.next_seed()
        self.attack.count_out_of_range(batch)
        statistics = guarded.begin()
        adversarial, gradients = self._run(
            _phase_or_idle(age, phase), batches.working(), seed
        )
        guarded.apply_gradients(
            self._model.optimizer,
            gradients,
            statistics,
            after=adversarial,
            ready=age >= FIRST_UPDATE,
        )
        batches.advance(age, phase, batch, adversarial)
        return self.loss.with_parts(self._model.get_metrics_result())

    def _run(
        self, phase: tf.Tensor, batch: Batch, seed: tf.Tensor
    ) -> tuple[tf.Tensor, list[Optional[tf.Tensor]]]:
        """Does what the phase says.

        Returns:
          (adversarial images, gradients): the batch's images of before in all
          phases but the attack; zeros where the phase has no gradient, None
          for weights that none has.
        """
        network = self._model.network
        weights = network.trainable_variables
        has_gradient = [False] * len(weights)

        def nothing() -> list[tf.Tensor]:
            return [tf.zeros(v.shape, v.dtype) for v in weights]

        def train(part: str) -> tuple[tf.Tensor, list[tf.Tensor]]:
            gradients = nothing()
            for index, gradient in enumerate(self.part_gradients(batch, part)):
                if gradient is not None:
                    has_gradient[index] = True
                    gradients[index] = tf.convert_to_tensor(gradient)
            return batch.adversarial, gradients

        adversarial, gradients = tf.switch_case(
            phase,
            [
                lambda: (
                    self.attack.craft(network, batch.to_attack(), seed),
                    nothing(),
                ),
                lambda: train("adversarial"),
                lambda: train("clean"),
                lambda: (batch.adversarial, nothing()),
            ],
        )
        return adversarial, [
            gradient if known else None
            for gradient, known in zip(gradients, has_gradient)
        ]

    def part_gradients(
        self, batch: Batch, name: str
    ) -> list[Optional[tf.Tensor]]:
        """A replica's share of the gradients of an update, from one part.

        Args:
          batch: `Batch` with adversarial images.
          name: "clean" or "adversarial".

        Returns:
          List of tensors, None where a weight has no part in it. Their sum
          over all replicas is the gradient of the mean loss of the replicas
          with this part, times its share. Changes moving statistics and
          metrics.
        """
        model, part = self._model, batch.parts()[name]
        with tf.GradientTape() as tape:
            with batch_norm_branch(BRANCHES[name]):
                logits = model.network(part.images, training=True)
            logits = tf.cast(logits, tf.float32)
            loss = self.loss.of_part(part, logits)
            # Keras divided by the number of all replicas; a third has it.
            weighted = loss * (NUM_PHASES * self.loss.shares[name])
        self.loss.record(name, part, batch, logits, loss)
        if name == "clean":
            keras_internals.update_compiled_metrics(
                model, batch.labels, logits, batch.sample_weight
            )
        return self.update.guarded.gradients(model.optimizer, tape, weighted)

    def train_function(
        self, make: Callable[[], Callable[[Any], Any]]
    ) -> Callable[[Any], Any]:
        """See `Step.train_function`; replicas come in threes."""
        check_replicas(self._model.distribute_strategy.num_replicas_in_sync)
        return super().train_function(make)

    def _new_buffers(self, spec: BatchSpec, static: bool) -> PhasedBatches:
        # A conditional of the step cannot create these any more.
        keras_internals.build_metrics(
            self._model,
            tf.constant(batch_spec.example_labels(spec.labels)),
            tf.zeros([1, *self._model.network.output_shape[1:]]),
        )
        return PhasedBatches(spec.images, spec.labels, spec.sample_weight)


def _phase_or_idle(age: tf.Tensor, phase: tf.Tensor) -> tf.Tensor:
    """The phase, or IDLE before there is anything to do in it."""
    first = tf.where(tf.equal(phase, ATTACK), FIRST_ATTACK, FIRST_UPDATE)
    return tf.where(age >= tf.cast(first, age.dtype), phase, IDLE)
