"""One forward and one backward pass, of which the attack is a by-product."""

from collections.abc import Callable
from typing import Optional

import tensorflow as tf

from conadv_tf.attacks import attack_loss_scaling
from conadv_tf.attacks import NoGradientError
from conadv_tf.steps.attack_pass import AttackPass
from conadv_tf.steps.attack_pass import naming_layers
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch import Part
from conadv_tf.steps.batch import size_of
from conadv_tf.steps.parts import Outputs
from conadv_tf.steps.update import Update


def train_and_ascend(
    network: tf.keras.Model,
    loss: Callable[[dict[str, Part]], Outputs],
    update: Update,
    attack: AttackPass,
    parts: dict[str, Part],
    received: Batch,
    seed: tf.Tensor,
) -> tuple[Outputs, list[Optional[tf.Tensor]], tf.Tensor]:
    """Gradients of a loss for an update, and x_hat by the same pass.

    In float16, the surer the examples the more of the gradient would vanish on
    its way to the images. So the loss is scaled, beside the optimizer's scale,
    until the gradient by the logits is as large as where nothing is sure.

    Args:
      network: that is trained.
      loss: of the parts.
      update: for which the gradients are.
      attack: of one step.
      parts: what is trained on; "start" among them, whose images are x_0.
      received: the images that the attack is on, and their labels.
      seed: int64 [2], as for `AttackPass.start`.

    Returns:
      (outputs, gradients by the weights, x_hat).

    Raises:
      NoGradientError: if there is none by the images.
    """
    start = parts["start"].images
    in_float16 = attack_loss_scaling.computes_in_float16(network)
    with tf.GradientTape() as tape:
        tape.watch(start)
        with tf.GradientTape() as head:
            outputs = loss(parts)
        scaled = outputs.loss
        if in_float16:
            with tape.stop_recording():
                exponent = _exponent(network, outputs, head)
            scaled *= attack_loss_scaling.power_of_two(exponent)
    logits = outputs.logits["start"]
    with naming_layers(network):
        gradients = update.gradients(tape, scaled, [start, logits])
        if gradients[-2] is None:
            raise NoGradientError("The loss does not depend on the images.")
    if in_float16:
        divisor = attack_loss_scaling.power_of_two(-exponent)
        gradients = [
            None if each is None else tf.convert_to_tensor(each) * divisor
            for each in gradients
        ]
    *by_weights, direction, by_logits = gradients
    return (
        outputs,
        by_weights,
        attack.ascend(start, direction, received, logits, by_logits, seed),
    )


def _exponent(
    network: tf.keras.Model, outputs: Outputs, head: tf.GradientTape
) -> tf.Tensor:
    """Of the power of two to scale the loss by; int32 scalar."""
    logits = list(outputs.logits.values())
    largest = [
        tf.reduce_max(tf.abs(gradient))
        for gradient in head.gradient(outputs.loss, logits)
    ]
    images = sum(size_of(part.images) for part in outputs.parts.values())
    # Penalties are scaled too, whose gradient is not small.
    at_most = 20 if network.losses else 80
    return attack_loss_scaling.exponent_to(
        1 / tf.cast(images, tf.float32), tf.reduce_max(largest), at_most
    )
