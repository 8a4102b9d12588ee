"""Small compiled models of each method, and arrays to train them."""

import numpy as np

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


def build(
    step="conadv",
    network=None,
    attack=None,
    optimizer=None,
    loss=networks.LOSS,
    seed=0,
    views=1,
    **compile_args,
):
    """A compiled model; of a name in `METHODS` or a `ca.Step`."""
    step = METHODS.get(step, step)
    if not step.requires_attack:
        attack = None
    elif attack is None:
        attack = ca.PGD(**ATTACK)
    model = ca.ConAdvModel(
        network or networks.small(), attack, step=step, seed=seed, views=views
    )
    model.compile(
        optimizer or ca.LARS(0.5, weight_decay=1e-4),
        loss,
        **{"metrics": ["accuracy"], **compile_args},
    )
    return model


def arrays(count=24):
    images, labels = zip(*networks.batches(count // 8))
    return np.concatenate(images), np.concatenate(labels)
