"""Checks before the first step that a later attack accepts the data."""

from concurrent import futures
from typing import Any

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf import keras_layers
from conadv_tf.steps.attack_pass import AttackPass
from conadv_tf.steps.batch import SubBatch
from conadv_tf.steps.context import TrainingContext


def check_attack(
    attack: AttackPass, context: TrainingContext, element_spec: Any
) -> None:
    """Raises the errors of an attack on such data, without running it.

    It traces the attack and the adversarial accuracy. That changes nothing and
    takes a part of the time of tracing a training step.

    Args:
      attack: the attack of the model.
      context: the `TrainingContext`.
      element_spec: spec of (images, labels[, sample_weight]).

    Raises:
      ValueError: if the attack does not accept the network, the loss or the
        labels.
    """
    network, accuracy = context.network, context.accuracy
    spec = context.labels_spec(element_spec)
    if spec is None:
        return

    def generate(images: tf.Tensor, labels: tf.Tensor) -> None:
        sub_batch = SubBatch(images, labels, None)
        attack.generate(network, sub_batch, tf.zeros([2], tf.int64))
        if accuracy is not None and labels.dtype != tf.string:
            size = tf.shape(labels)[0]
            accuracy(labels, tf.zeros([size, *network.outputs[0].shape[1:]]))

    trace = tf.function(generate, autograph=False).get_concrete_function
    layers = [*keras_internals.flatten_layers(network)]
    # A thread is in no scope of a strategy and traces one replica.
    with keras_layers.kept_seeds(layers), futures.ThreadPoolExecutor(1) as pool:
        pool.submit(
            trace,
            tf.TensorSpec([spec.shape[0], *network.inputs[0].shape[1:]]),
            tf.TensorSpec(spec.shape, spec.dtype),
        ).result()
