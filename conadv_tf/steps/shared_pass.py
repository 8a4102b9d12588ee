"""One forward and one backward pass in all: the attack is a by-product.

Fast AdvProp (Mei et al. 2022, arXiv 2204.09838) trains on the points where its
attack starts too, and so gets the direction for nothing; its two passes follow
one another. With ConAdv's staleness they need not. Step t receives B_t+1;
x_hat(B_t) was crafted in the step before; f is `adversarial_fraction`:

    clean        x in B_t+1                            main batch norm
    start        x_0 = project(x + random start)       auxiliary, the first f
    adversarial  x_hat(B_t; theta_t-1)                 auxiliary, the first f
    L_t   = [clean + w (start + adversarial) / 2] / (1 + w)
    one backward pass: the gradient of L_t by theta, and d by x_0
    x_hat(B_t+1; theta_t) = project(x_0 + step_size * ascent direction of s d)

tau is exactly 1 without a shadow copy: x_hat is of the weights of the step
before. The arithmetic is 1 + 2 f times plain training's. With
`start_replaces_clean` the first f of B_t+1 is trained on as start images
*instead of* clean ones: 1 + f.

Differs from Algorithm 1 of Liu et al. 2022 (arXiv 2106.00221): start images are
trained on; the clean and the adversarial images of an update are of different
batches; the direction is that of the training loss.

**The factor s**, +1 or -1 for each example: with label smoothing the training
loss turns round where an example is more certain than its smoothed label, and
its ascent would make the example easier. s is the sign of the inner product,
over an example's logits, of the gradients of the training and of the attack
loss (which has no smoothing).

A direction that is not finite counts as none: x_hat is x_0 then. Such a step
is skipped and counted anyway, and a NaN must not go on from batch to batch
through x_hat.
"""

from typing import Optional

import tensorflow as tf

from conadv_tf.steps.attack_pass import AttackPass
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch import Part
from conadv_tf.steps.batch import spec_of_first
from conadv_tf.steps.batch_spec import BatchSpec
from conadv_tf.steps.one_pass import train_and_ascend
from conadv_tf.steps.options import check_together
from conadv_tf.steps.options import Options
from conadv_tf.steps.pending_batch import PendingBatch
from conadv_tf.steps.pipelined import PipelinedStep


class SharedPassStep(PipelinedStep):
    """ConAdv in one pass; see above.

    Args:
      model: a compiled `ConAdvModel` with an attack of one step.
      loss: what `attacks.loss.single_loss` returned.
    """

    attack: AttackPass
    auxiliary = ("start", "adversarial")

    @staticmethod
    def is_asked_for(options: Options) -> bool:
        """With attack_pass="shared"."""
        return options.attack_pass == "shared"

    @classmethod
    def check(cls, options: Options, network: tf.keras.Model) -> None:
        """One step towards no label, tau 1, one batch an update."""
        check_attack(options)
        check_together(
            'attack_pass="shared"',
            'attack_pass="own"',
            (
                (
                    "staleness",
                    options.staleness,
                    1,
                    "a direction is there one update before it is trained on",
                ),
            ),
        )
        if options.start_replaces_clean and options.adversarial_fraction == 1:
            raise ValueError(
                "Expected adversarial_fraction < 1 with start_replaces_clean: "
                "no clean image would be left; received 1."
            )

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """See `Step.__call__`."""
        guarded = self.update.guarded
        age = self.buffers.age_after(batch)
        received = batch.only_attacked()
        pending = self.buffers.take(age, received)
        with tf.control_dependencies([age]):  # Only if there are data.
            seed = self.attack.next_seed()
        self.attack.count_out_of_range(batch)
        start = self.attack.start(received, seed)
        statistics = guarded.begin()
        outputs, gradients, adversarial = train_and_ascend(
            self._model.network,
            self.loss,
            self.update,
            self.attack,
            self._parts(batch, received.attacked(start), pending),
            received,
            seed,
        )
        guarded.apply_gradients(
            self._model.optimizer,
            gradients,
            statistics,
            after=[outputs.loss, adversarial],
        )
        self.buffers.put(received.attacked(adversarial))
        return self.loss.logs(batch, outputs)

    def _parts(
        self, batch: Batch, started: Batch, pending: Batch
    ) -> dict[str, Part]:
        parts = batch.parts()
        if self._model.options.start_replaces_clean:
            parts["clean"] = batch.not_attacked()
        parts["start"] = started.parts()["adversarial"]
        parts["adversarial"] = pending.parts()["adversarial"]
        return parts

    def _widened(self, spec: BatchSpec) -> BatchSpec:
        """As it is: batches that follow one another are joined in one."""
        if not spec.images.shape[1:].is_fully_defined():
            raise ValueError(
                'Expected images of one size with attack_pass="shared", which '
                "joins each batch with the one before it; received batches of "
                f"shape {spec.images.shape}. Set it in the input pipeline, for "
                'example with tf.ensure_shape; attack_pass="own" takes any.'
            )
        return spec

    def _new_buffers(self, spec: BatchSpec, static: bool) -> PendingBatch:
        def first(part: Optional[tf.TensorSpec]) -> Optional[tf.TensorSpec]:
            fraction = self._model.adversarial_fraction
            return None if part is None else spec_of_first(part, fraction)

        images = tf.TensorSpec(spec.images.shape, tf.float32)
        return PendingBatch(
            {
                "labels": first(spec.labels),
                "sample_weight": first(spec.sample_weight),
                "adversarial": first(images),
            },
            images.shape[0] if static else None,
        )


def check_attack(options: Options) -> None:
    """Raises a ValueError if an attack cannot do with a direction it is given.

    Args:
      options: `Options`; one batch an update, too.
    """
    attack = options.attack
    if attack is None:
        raise ValueError(
            'Expected an attack with attack_pass="shared"; received None.'
        )
    if not hasattr(attack, "initial_points") or not hasattr(
        attack, "apply_gradient"
    ):
        raise ValueError(
            'Expected an attack with attack_pass="shared" that has the methods '
            "initial_points(images, seed) and apply_gradient(points, gradient, "
            f'images, seed) of ca.PGD; received {attack!r}. attack_pass="own" '
            "needs neither."
        )
    check_together(
        'attack_pass="shared"',
        'attack_pass="own"',
        (
            (
                "microbatches",
                options.microbatches,
                1,
                "the attacked images of a whole global batch would have to be "
                "kept",
            ),
            (
                "num_steps",
                getattr(attack, "num_steps", 1),
                1,
                "one backward pass gives one direction",
            ),
            (
                "targeted",
                getattr(attack, "targeted", None),
                None,
                "the direction is that of the training loss, which has the "
                "true label",
            ),
        ),
    )
    if options.adversarial_weight == 0:
        raise ValueError(
            'Expected adversarial_weight > 0 with attack_pass="shared", where '
            "the direction is a gradient of that part of the loss; received 0."
        )
