"""Small compiled models of each method, and arrays to train them."""

import numpy as np

import conadv_tf as ca
from tests import networks

ATTACK = {"epsilon": 0.1, "random_start": 0.8}
METHODS = {"plain": None, "disadv": 0, "conadv": 1, "staler": 3}


def build(method="conadv", network=None, loss=networks.LOSS, **compile_args):
    model = ca.ConAdvModel(
        network or networks.small(),
        attack=None if method == "plain" else ca.PGD(**ATTACK),
        staleness=METHODS[method],
    )
    compile_args.setdefault("metrics", ["accuracy"])
    model.compile(
        optimizer=ca.LARS(0.5, weight_decay=1e-4), loss=loss, **compile_args
    )
    return model


def arrays(count=24):
    images, labels = zip(*networks.batches(count // 8))
    return np.concatenate(images), np.concatenate(labels)
