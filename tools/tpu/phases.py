"""The turns of phased placement, each as the step of one core.

The step of a real replica is a conditional of its turns and needs replicas in
threes or pairs, of which the tools have one. So each is lowered by itself, with
the whole working batch and the update, and what comes from other replicas is
an argument. Left out are the all-reduce, as of all methods, and the copying of
a share of images into the working batch.
"""

import tensorflow as tf

import conadv_tf as ca
from conadv_tf import keras_internals
from conadv_tf.steps import Batch
from tools.step import models

PHASES = ("phased_attack", "phased_adversarial", "phased_clean")
# With a shared pass; clean images are trained on alike.
PAIRED = ("paired_auxiliary", "phased_clean")
KNOWN = tuple(dict.fromkeys((*PHASES, *PAIRED)))


def phase_function(network, phase, images, labels, attack):
    """What a replica does in one phase, as a function of its working batch.

    Args:
      network: functional network, images to logits.
      phase: one of `KNOWN`.
      images: TensorSpec of the working batch's images.
      labels: likewise.
      attack: `ca.PGD` or the like.

    Returns:
      (tf.function with jit_compile, flat tuple of its TensorSpecs): of images
      and labels; for the attack also of its seed and of the gradients that
      the other replicas send.
    """
    if phase == "paired_auxiliary":
        return _paired_auxiliary(network, images, labels, attack)
    model = ca.ConAdvModel(network, attack, step=ca.RotatingRoles())
    models.compiled(model, metrics=None)
    weights = model.network.trainable_variables
    keras_internals.create_slots(model.optimizer, weights)
    step = model.step
    step.prepare((images, labels), static=True)
    update = step.update.guarded

    def attack_step(images, labels, seed, *gradients):
        statistics = update.begin()
        batch = Batch(images, labels)
        adversarial = step.attack.craft(model.network, batch.to_attack(), seed)
        update.apply_gradients(
            model.optimizer, list(gradients), statistics, after=adversarial
        )
        return adversarial

    def training_phase(images, labels):
        statistics = update.begin()
        batch = Batch(images, labels, adversarial=images)
        part = phase[len("phased_") :]
        gradients = _of_all(weights, step.part_gradients(batch, part))
        update.apply_gradients(
            model.optimizer, gradients, statistics, after=gradients
        )
        return model.get_metrics_result()

    function, specs = training_phase, (images, labels)
    if phase == "phased_attack":
        gradients = [tf.TensorSpec(w.shape, w.dtype) for w in weights]
        seed = tf.TensorSpec([2], tf.int64)
        function, specs = attack_step, (images, labels, seed, *gradients)
    return tf.function(function, jit_compile=True), specs


def _paired_auxiliary(network, images, labels, attack):
    model = ca.ConAdvModel(network, attack, step=ca.RotatingRoles())
    models.compiled(model, metrics=None)
    weights = model.network.trainable_variables
    keras_internals.create_slots(model.optimizer, weights)
    step = model.step
    # What a replica receives at a step is half of its working batch.
    size = images.shape[0] // 2
    share = [
        tf.TensorSpec([size, *spec.shape[1:]], spec.dtype)
        for spec in (images, labels)
    ]
    step.prepare(tuple(share), static=True)
    update = step.update.guarded
    age = tf.constant(2 * step.first_update, tf.int64)

    def auxiliary(images, labels, seed):
        statistics = update.begin()
        auxiliary_turn, _ = step.turns(age, seed)
        crafted, gradients = auxiliary_turn(
            Batch(images, labels), step.buffers.crafted()
        )
        gradients = _of_all(weights, gradients)
        update.apply_gradients(
            model.optimizer,
            gradients,
            statistics,
            after=crafted["adversarial"],
        )
        return crafted["adversarial"], model.get_metrics_result()

    specs = images, labels, tf.TensorSpec([2], tf.int64)
    return tf.function(auxiliary, jit_compile=True), specs


def _of_all(weights, gradients):
    """The other branch's batch norms have gradients from other replicas."""
    return [
        tf.zeros_like(weight) if gradient is None else gradient
        for gradient, weight in zip(gradients, weights)
    ]
