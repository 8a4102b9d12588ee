"""Models with `ca.Delayed`, and comparisons with plain training."""

import numpy as np
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.distribution import assign_local
from conadv_tf.distribution import local_values
from conadv_tf.networks import variables as variables_lib
from conadv_tf.steps import epoch_accuracy
from tests import models
from tests import networks

BATCHES, SIZE = 3, 8


def data(sample_weight=False, size=SIZE, shape=(6, 6, 1)):
    """A dataset of `BATCHES` batches, in order."""
    batches = networks.batches(BATCHES, size, shape)
    dataset = networks.dataset(batches)
    if sample_weight:
        weights = np.random.default_rng(5).uniform(0.1, 2, BATCHES * size)
        weights = tf.data.Dataset.from_tensor_slices(weights.astype("f"))
        dataset = tf.data.Dataset.zip(
            (dataset.unbatch(), weights.map(lambda w: (w,)))
        ).map(lambda pair, weight: (*pair, *weight))
        dataset = dataset.batch(size, drop_remainder=True)
    return dataset


def build(step, network=networks.small, **arguments):
    """A compiled model; the same seeds give the same initial weights."""
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(0)
    return models.build(step, network(), **arguments)


def plain(step):
    """Plain training with as many micro-batches."""
    return ca.Plain(microbatches=step.microbatches)


def optimizer_variables(model):
    """The optimizer's variables, in order."""
    optimizer = model.optimizer
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    found = optimizer.variables
    return found() if callable(found) else found  # Legacy ones: a method.


def main_variables(model):
    """Weights, statistics and slots, except for the auxiliary branch."""
    return [
        each
        for each in (*model.network.weights, *optimizer_variables(model))
        if not any(name in each.name for name in ("auxiliary", "trust_ratio"))
    ]


def values(model, variables):
    """The copies of all replicas."""
    strategy = model.distribute_strategy
    return [
        value
        for variable in variables
        for value in local_values(strategy, variable)
    ]


def assert_equal(one, other):
    assert len(one) == len(other)
    for left, right in zip(one, other):
        np.testing.assert_array_equal(left, right)


def assert_plain(model, expected):
    """Compares what both models train, to the bit."""
    assert_equal(
        values(model, main_variables(model)),
        values(expected, main_variables(expected)),
    )
    step, *_ = optimizer_variables(expected)
    assert step.numpy() == model.optimizer.iterations.numpy() > 0


def continued(trained, step, **arguments):
    """Returns a model with another step that continues plain training."""
    model = build(step, **arguments)
    strategy = model.distribute_strategy
    pairs = variables_lib.branch_pairs(model.network)
    with strategy.scope():
        model.runner.update.create_slots()
        for old, new in zip(main_variables(trained), main_variables(model)):
            assign_local(strategy, new, local_values(strategy, old))
        for main, auxiliary in pairs:
            assign_local(strategy, auxiliary, local_values(strategy, main))
    return model


class Decisions:
    """The accuracies of the epochs that a model decides by."""

    def __init__(self, monkeypatch):
        self.seen = []
        result = epoch_accuracy.EpochAccuracy.result

        def watched(accuracy):
            self.seen.append(result(accuracy))
            return self.seen[-1]

        monkeypatch.setattr(epoch_accuracy.EpochAccuracy, "result", watched)
