"""The roles of `RotatingRoles`, each as the training step of one core.

The step of a real replica is a conditional over its roles and needs replicas in
threes, and the tools have one. So each role is lowered separately, with the
whole current batch and the update, and the gradients from other replicas are
arguments. The all-reduce is left out, as for all methods, and so is the copy of
a share of images into the current batch.
"""

import tensorflow as tf

import conadv_tf as ca
from conadv_tf.steps import Batch
from tools.step import models

ROLES = ("role_attack", "role_adversarial", "role_clean")


def role_function(network, role, images, labels, attack):
    """Returns the step of a replica in one role.

    Args:
      network: functional network, images to logits.
      role: one of `ROLES`.
      images: TensorSpec of the images of the current batch.
      labels: TensorSpec of their labels.
      attack: a `ca.Attack`.

    Returns:
      (tf.function with jit_compile, flat tuple of its TensorSpecs). The
      arguments are images and labels; for the attack also its seed and the
      gradients that the other replicas send.
    """
    model = ca.ConAdvModel(network, attack, step=ca.RotatingRoles())
    models.compiled(model, metrics=None)
    weights = model.network.trainable_variables
    runner = model.runner
    runner.update.create_slots()
    update = runner.update

    def attack_step(images, labels, seed, *gradients):
        statistics = update.snapshot_statistics()
        attacked = Batch(images, labels).attacked_sub_batch()
        adversarial = runner.attack.generate(model.network, attacked, seed)
        update.apply_gradients(list(gradients), statistics, after=adversarial)
        return adversarial

    def training_step(images, labels):
        statistics = update.snapshot_statistics()
        batch = Batch(images, labels, adversarial=images)
        name = role.removeprefix("role_")
        # The batch norms of the other branch have gradients from other
        # replicas.
        gradients = [
            tf.zeros_like(weight) if gradient is None else gradient
            for gradient, weight in zip(runner.gradients(batch, name), weights)
        ]
        update.apply_gradients(gradients, statistics, after=gradients)
        return model.get_metrics_result()

    function, specs = training_step, (images, labels)
    if role == "role_attack":
        gradients = [tf.TensorSpec(w.shape, w.dtype) for w in weights]
        seed = tf.TensorSpec([2], tf.int64)
        function, specs = attack_step, (images, labels, seed, *gradients)
    return tf.function(function, jit_compile=True), specs
