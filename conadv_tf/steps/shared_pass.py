"""One forward and one backward pass per step, for the update and the attack.

Fast AdvProp (Mei et al. 2022, arXiv 2204.09838) also trains on the initial
points of its attack, and so gets the attack's gradient from the backward pass
of the update; its two passes follow one another. With the staleness of ConAdv
one pass is enough. Step t receives B_t+1; the step before has generated
x_hat(B_t); f is the `fraction`:

    clean        x in B_t+1                            main batch norm
    start        x_0 = project(x + random start)       auxiliary, the first f
    adversarial  x_hat(B_t; theta_t-1)                 auxiliary, the first f
    L_t   = [clean + w (start + adversarial) / 2] / (1 + w)
    one backward pass: the gradient of L_t by theta, and d by x_0
    x_hat(B_t+1; theta_t) = project(x_0 + step_size * ascent direction of s d)

The staleness is exactly 1, without a copy of the weights, because x_hat was
computed with the weights of the step before. The arithmetic is 1 + 2 f times
that of plain training. With `replace_clean` the first f of B_t+1 is trained on
as start images *instead of* clean ones, and the arithmetic is 1 + f.

Differs from Algorithm 1 of Liu et al. 2022 (arXiv 2106.00221): the start images
are trained on; the clean and the adversarial images of an update come from
different batches; the direction is the gradient of the training loss.

**The factor s** is +1 or -1 for each example. With label smoothing the training
loss grows again where an example is more certain than its smoothed label, and
its ascent would make the example easier. s is the sign of the inner product,
over an example's logits, of the gradients of the training loss and of the
attack loss, which has no smoothing.

A direction that is not finite counts as zero, so that x_hat is x_0. Such a step
is skipped and counted anyway, and x_hat must not carry a NaN from batch to
batch.
"""

import dataclasses
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf import keras_outputs
from conadv_tf.attacks import attack_loss_scaling
from conadv_tf.attacks import NoGradientError
from conadv_tf.steps.attack_pass import explain_missing_gradient
from conadv_tf.steps.batch import attacked_spec
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch import size_of
from conadv_tf.steps.batch import SubBatch
from conadv_tf.steps.batch_spec import BatchSpec
from conadv_tf.steps.pending import PendingBatch
from conadv_tf.steps.pending import PipelinedRunner
from conadv_tf.steps.step import check_fraction
from conadv_tf.steps.step import check_weight
from conadv_tf.steps.step import Step


class SharedPassRunner(PipelinedRunner):
    """Trains on a batch and attacks it in one pass."""

    auxiliary = ("start", "adversarial")

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Executes one training step of one replica."""
        steps = self.buffers.read_steps(batch)
        received = batch.attacked_only()
        pending = self.buffers.take(steps, received)
        with tf.control_dependencies([steps]):  # Only if there are data.
            seed = self.attack.next_seed()
        self.attack.count_out_of_range(batch)
        start = self.attack.initial_points(received, seed)
        statistics = self.update.snapshot_statistics()
        outputs, gradients, adversarial = self._fused_forward_backward(
            self._sub_batches(batch, received.with_adversarial(start), pending),
            received,
            seed,
        )
        self.update.apply_gradients(
            gradients, statistics, after=[outputs.loss, adversarial]
        )
        self.buffers.put(received.with_adversarial(adversarial))
        return self.loss.logs(batch, outputs)

    def _sub_batches(
        self, batch: Batch, started: Batch, pending: Batch
    ) -> dict[str, SubBatch]:
        found = batch.sub_batches()
        if self.step.replace_clean:
            found["clean"] = batch.clean_remainder()
        found["start"] = started.sub_batches()["adversarial"]
        found["adversarial"] = pending.sub_batches()["adversarial"]
        return found

    def _fused_forward_backward(
        self, sub_batches: dict[str, SubBatch], received: Batch, seed: tf.Tensor
    ) -> tuple[Any, list[Optional[tf.Tensor]], tf.Tensor]:
        """Computes the gradients for the update and the adversarial images.

        In float16 the gradient by the images of a confident example would
        underflow. The loss is scaled, in addition to the optimizer's loss
        scale, until its gradient by the logits is as large as for examples
        without confidence.

        Args:
          sub_batches: sub-batches to train on. The images of "start" are x_0.
          received: the attacked images and their labels.
          seed: int64 [2], (run seed, step), the seed of x_0.

        Returns:
          (outputs, gradients by the weights, adversarial images).

        Raises:
          NoGradientError: if the loss does not depend on the images.
        """
        network = self.context.network
        start = sub_batches["start"].images
        in_float16 = attack_loss_scaling.computes_in_float16(network)
        with tf.GradientTape() as tape:
            tape.watch(start)
            with tf.GradientTape() as head:
                outputs = self.loss(sub_batches)
            scaled = outputs.loss
            if in_float16:
                with tape.stop_recording():
                    exponent = _exponent(network, outputs, head)
                scaled *= attack_loss_scaling.power_of_two(exponent)
        logits = outputs.logits["start"]
        with explain_missing_gradient(network):
            gradients = self.update.gradients(
                tape, scaled, [start, *keras_outputs.loss_inputs(logits)]
            )
            count = len(self.update.weights)
            if gradients[count] is None:
                raise NoGradientError("The loss does not depend on the images.")
        if in_float16:
            divisor = attack_loss_scaling.power_of_two(-exponent)
            gradients = [
                None if each is None else tf.convert_to_tensor(each) * divisor
                for each in gradients
            ]
        by_weights, by_start = gradients[:count], gradients[count]
        by_logits = gradients[count + 1 :]
        adversarial = self.attack.apply_gradient(
            start, by_start, received, logits, by_logits, seed
        )
        return outputs, by_weights, adversarial

    def widened(self, spec: BatchSpec) -> BatchSpec:
        """Returns the spec with the network's image size, which must be fixed.

        Successive batches are concatenated.
        """
        # Keras's generators leave all dimensions open.
        sizes = spec.images.shape[:1].concatenate(
            self.context.network.inputs[0].shape[1:]
        )
        if sizes.is_compatible_with(spec.images.shape):
            images = tf.TensorSpec(
                sizes.merge_with(spec.images.shape), spec.images.dtype
            )
            spec = BatchSpec(images, *spec[1:])
        if not spec.images.shape[1:].is_fully_defined():
            raise ValueError(
                "Expected images of one size with step=ca.SharedPass(...), "
                "which concatenates each batch with the one before it; "
                f"received batches of shape {spec.images.shape}. Set the size "
                "in the network, tf.keras.Input(shape), or in the input "
                "pipeline, for example with tf.ensure_shape, or use "
                "step=ca.Concurrent(...), which takes images of any size."
            )
        return spec

    def new_buffers(self, spec: BatchSpec, static: bool) -> PendingBatch:
        """Returns buffers for the adversarial images of a batch."""

        def attacked(each: Optional[tf.TensorSpec]) -> Optional[tf.TensorSpec]:
            fraction = self.step.fraction
            return None if each is None else attacked_spec(each, fraction)

        images = tf.TensorSpec(spec.images.shape, tf.float32)
        return PendingBatch(
            {
                "labels": attacked(spec.labels),
                "sample_weight": attacked(spec.sample_weight),
                "adversarial": attacked(images),
            },
            images.shape[0] if static else None,
        )


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedPass(Step):
    """ConAdv with one forward and one backward pass per step.

    The attack needs one step, no target, and the methods `initial_points` and
    `apply_gradient` of `ca.PGD`. The module `conadv_tf.steps.shared_pass`
    describes the algorithm.

    Attributes:
      fraction: share f of each local batch that is attacked, in (0, 1]; the
        first images. Shuffle the data.
      weight: weight w > 0 of the auxiliary losses (start and adversarial)
        together; each other loss has weight 1.
      replace_clean: whether the start images replace the clean images of the
        fraction, for 1 + f times the arithmetic of plain training instead of
        1 + 2 f.

    Raises:
      ValueError: if an option has an invalid value.

    Example:
      >>> ca.SharedPass()
      SharedPass(fraction=0.25, weight=1.0, replace_clean=True)
    """

    fraction: float = 0.25
    weight: float = 1.0
    replace_clean: bool = True
    runner = SharedPassRunner
    staleness = 1

    def __post_init__(self) -> None:
        """Checks the options."""
        super().__post_init__()
        check_fraction(self.fraction)
        check_weight(self.weight)
        if self.weight == 0:
            raise ValueError(
                "Expected weight > 0 with step=ca.SharedPass(...), whose "
                "attack follows the gradient of that part of the loss; "
                "received 0. For training without an attack pass attack=None."
            )
        if not isinstance(self.replace_clean, bool):
            raise ValueError(
                "Expected replace_clean to be True or False; received "
                f"{self.replace_clean!r}."
            )
        if self.replace_clean and self.fraction == 1:
            raise ValueError(
                "Expected fraction < 1 with replace_clean=True, because no "
                "clean image would remain; received fraction=1. Pass "
                "replace_clean=False, or a smaller fraction."
            )

    def cost(self, attack: Any, views: int = 1) -> float:
        """Returns the arithmetic of a step, where plain training has 1."""
        return views + self.fraction * (1 if self.replace_clean else 2)

    def check(self, network: tf.keras.Model, attack: Any, views: int) -> None:
        """Refuses attacks that cannot follow a gradient that they are given."""
        super().check(network, attack, views)
        if not hasattr(attack, "initial_points") or not hasattr(
            attack, "apply_gradient"
        ):
            raise ValueError(
                "Expected an attack with the methods initial_points(images, "
                "seed) and apply_gradient(points, gradient, images, seed) of "
                f"ca.PGD with step=ca.SharedPass(...); received {attack!r}. "
                "step=ca.Concurrent(...) needs neither."
            )
        for name, required, reason in (
            ("num_steps", 1, "one backward pass gives one direction"),
            ("targeted", None, "the training loss has the true label"),
        ):
            received = getattr(attack, name, required)
            if received != required:
                raise ValueError(
                    f"Expected an attack with {name}={required!r} with "
                    f"step=ca.SharedPass(...), because {reason}; received "
                    f"{name}={received!r}. step=ca.Concurrent(...) takes it."
                )


def _exponent(
    network: tf.keras.Model, outputs: Any, head: tf.GradientTape
) -> tf.Tensor:
    """Returns the exponent of the power of two that scales the loss."""
    inputs = map(keras_outputs.loss_inputs, outputs.logits.values())
    largest = [
        tf.reduce_max(tf.abs(gradient))
        for gradient in head.gradient(outputs.loss, sum(inputs, []))
        if gradient is not None
    ]
    images = sum(size_of(each.images) for each in outputs.sub_batches.values())
    # The scale also applies to penalties, whose gradient is not small.
    at_most = 20 if network.losses else 80
    return attack_loss_scaling.exponent_to(
        1 / tf.cast(images, tf.float32), tf.reduce_max(largest), at_most
    )
