"""Small compiled models of each method, and arrays to train them."""

import numpy as np
import tensorflow as tf

import conadv_tf as ca
from tests import networks

ATTACK = {"epsilon": 0.1, "random_start": 0.8}


def step_for(staleness, **options):
    """The step with this staleness: None is plain training, 0 is DisAdv."""
    if staleness is None:
        return ca.Plain(**options)
    if staleness == 0:
        return ca.Sequential(**options)
    return ca.Concurrent(staleness=staleness, **options)


METHODS = {
    "plain": step_for(None),
    "disadv": step_for(0),
    "conadv": step_for(1),
    "staler": step_for(3),
}


def lars(learning_rate=0.5):
    return ca.LARS(learning_rate, weight_decay=1e-4)


def strategy(replicas):
    """A mirrored strategy; TensorFlow's default strategy for one replica."""
    if replicas == 1:
        return tf.distribute.get_strategy()
    return ca.distribution.strategy("mirrored", num_replicas=replicas)


def build(
    step="conadv",
    network=None,
    attack=None,
    optimizer=lars,
    loss=networks.LOSS,
    seed=0,
    views=1,
    replicas=1,
    **compile_args,
):
    """Returns a compiled model.

    Args:
      step: a `ca.Step`, or a name in `METHODS`.
      network: None for `networks.small()`.
      attack: None for PGD; not used if the step takes no attack.
      optimizer: an optimizer, or a function that returns one.
      loss: Keras loss.
      seed: key of the random draws.
      views: number of views.
      replicas: number of replicas.
      **compile_args: further arguments of `compile`.
    """
    step = METHODS.get(step, step)
    if not step.requires_attack:
        attack = None
    elif attack is None:
        attack = ca.PGD(**ATTACK)
    with strategy(replicas).scope():
        model = ca.ConAdvModel(
            network or networks.small(),
            attack,
            step=step,
            seed=seed,
            views=views,
        )
        model.compile(
            optimizer() if callable(optimizer) else optimizer,
            loss,
            **{"metrics": ["accuracy"], **compile_args},
        )
    return model


def arrays(count=24):
    images, labels = zip(*networks.batches(count // 8))
    return np.concatenate(images), np.concatenate(labels)
