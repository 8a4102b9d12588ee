"""`train_step` in a loop of a user's own: the steps that `fit` makes."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks


def _model(**arguments):
    tf.keras.utils.set_random_seed(0)
    model = ca.ConAdvModel(networks.small(), ca.PGD(0.1), **arguments)
    sgd = tf.keras.optimizers.SGD(0.5)
    model.compile(sgd, networks.LOSS, metrics=["accuracy"])
    return model


# The buffers of the pending batch were made by `fit` alone: an AttributeError
# about NoneType.
@pytest.mark.parametrize(
    "arguments, how, replicas",
    [
        ({}, "eager", 1),
        ({"attack_pass": "shared"}, "function", 1),
        ({"staleness": 0}, "eager", 1),
        *(
            pytest.param(*slow, marks=pytest.mark.slow)
            for slow in (
                ({"staleness": 3}, "xla", 1),
                ({"attack_pass": "shared"}, "xla", 1),
                ({"adversarial_fraction": 0.5}, "function", 2),
            )
        ),
    ],
)
def test_steps_are_those_of_fit(arguments, how, replicas):
    strategy = tf.distribute.get_strategy()
    if replicas > 1:
        strategy = tf.distribute.MirroredStrategy(
            [f"CPU:{index}" for index in range(replicas)]
        )
    data = networks.dataset(networks.batches(3))
    with strategy.scope():
        looped, fitted = _model(**arguments), _model(**arguments)

    def step(batch):
        return strategy.run(looped.train_step, (batch,))

    if how != "eager":
        step = tf.function(step, jit_compile=how == "xla" or None)
    for batch in strategy.experimental_distribute_dataset(data):
        logs = step(batch)
    history = fitted.fit(data, verbose=0).history
    np.testing.assert_allclose(
        networks.weights(looped.network),
        networks.weights(fitted.network),
        rtol=1e-4,
        atol=1e-6,
    )
    if replicas == 1:
        assert list(logs) == list(history)[: len(logs)]
        for name, value in logs.items():
            np.testing.assert_allclose(value, history[name][0], rtol=1e-4)


# With one trace for all micro-batches each of them would make an update.
@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"microbatches": 2}, "microbatches=1"),
        ({"placement": "phased"}, 'placement="local"'),
    ],
)
def test_what_only_fit_can_do_is_refused(arguments, message):
    (images, labels), *_ = networks.batches(1)
    model = _model(**arguments)
    with pytest.raises(ValueError, match=f"fit or train_on_batch.*{message}"):
        model.train_step((images, labels))


# A second kind of images, as `fit` treats it.
def test_a_batch_that_is_pending_is_not_lost():
    model = ca.ConAdvModel(networks.linear(), ca.PGD(0.1))
    model.compile("sgd", networks.LOSS)
    step = tf.function(model.train_step)
    images, labels = map(tf.constant, networks.batch())
    step((images, labels))
    step((images[:4], labels[:4]))
    with pytest.raises(ValueError, match="a batch of another shape was"):
        step((images, labels, tf.ones([8])))
