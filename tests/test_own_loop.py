"""`train_step` in a loop of a user's own: the steps that `fit` makes."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import slow

SHARED = ca.SharedPass(fraction=1.0, replace_clean=False)


def _model(step, replicas=1):
    tf.keras.utils.set_random_seed(0)
    sgd = functools.partial(tf.keras.optimizers.SGD, 0.5)
    return models.build(step, optimizer=sgd, replicas=replicas)


# The buffers of the pending batch were made by `fit` alone: an AttributeError
# about NoneType.
@pytest.mark.parametrize(
    "step, how, replicas",
    [
        ("conadv", "eager", 1),
        (SHARED, "function", 1),
        slow("disadv", "eager", 1),
        slow("staler", "xla", 1),
        slow(SHARED, "xla", 1),
        slow(ca.Concurrent(fraction=0.5), "function", 2),
    ],
)
def test_steps_are_those_of_fit(step, how, replicas):
    data = networks.dataset(networks.batches(3))
    looped, fitted = (_model(step, replicas) for _ in range(2))
    strategy = looped.distribute_strategy

    def train(batch):
        return strategy.run(looped.train_step, (batch,))

    if how != "eager":
        train = tf.function(train, jit_compile=how == "xla" or None)
    for batch in strategy.experimental_distribute_dataset(data):
        logs = train(batch)
    history = fitted.fit(data, verbose=0).history
    networks.assert_same_weights(looped, fitted, 1e-4, 1e-6)
    if replicas == 1:
        assert list(logs) == list(history)[: len(logs)]
        for name, value in logs.items():
            np.testing.assert_allclose(value, history[name][0], rtol=1e-4)


# With one trace for all micro-batches each of them would make an update.
@pytest.mark.parametrize(
    "step, message",
    [
        (ca.Concurrent(microbatches=2), "microbatches=1"),
        (ca.Plain(microbatches=2), "microbatches=1"),
        (ca.RotatingRoles(), "use another step"),
    ],
)
def test_what_only_fit_can_do_is_refused(step, message):
    (images, labels), *_ = networks.batches(1)
    model = _model(step)
    with pytest.raises(ValueError, match=f"fit or train_on_batch.*{message}"):
        model.train_step((images, labels))


# A second kind of images, as `fit` treats it.
def test_a_batch_that_is_pending_is_not_lost():
    model = models.build(network=networks.linear())
    step = tf.function(model.train_step)
    images, labels = map(tf.constant, networks.batch())
    step((images, labels))
    step((images[:4], labels[:4]))
    with pytest.raises(ValueError, match="a batch of another shape was"):
        step((images, labels, tf.ones([8])))
