"""Optimizers that override methods which Keras calls in a step."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import slow

optimizers = tf.keras.optimizers
legacy = tf.keras.optimizers.legacy


def clipped(pairs):
    """Clips by the norm; of gradients and of their sum it is not the same."""
    pairs = list(pairs)
    gradients, _ = tf.clip_by_global_norm([each for each, _ in pairs], 0.01)
    return list(zip(gradients, [variable for _, variable in pairs]))


class Named(optimizers.SGD):
    """Without the argument for gradients that are summed already."""

    def apply_gradients(self, grads_and_vars, name=None):
        return super().apply_gradients(clipped(grads_and_vars), name=name)


class LegacyNamed(legacy.SGD):
    def apply_gradients(self, grads_and_vars, name=None):
        return super().apply_gradients(clipped(grads_and_vars), name=name)


class ClipsUnlessSummed(legacy.SGD):
    """Clips like BERT's optimizer, which many scripts have."""

    def apply_gradients(
        self, grads_and_vars, name=None, experimental_aggregate_gradients=True
    ):
        if experimental_aggregate_gradients:
            grads_and_vars = clipped(grads_and_vars)
        return super().apply_gradients(
            grads_and_vars, name, experimental_aggregate_gradients
        )


class MovingAverage(optimizers.Optimizer):
    """Holds another optimizer, and creates its variables when it is called."""

    def __init__(self, inner, **arguments):
        super().__init__(name="moving_average", **arguments)
        self._learning_rate = inner.learning_rate
        self.inner = inner
        self.averages = []

    def build(self, var_list):
        super().build(var_list)

    def apply_gradients(self, grads_and_vars, name=None):
        pairs = list(grads_and_vars)
        self.inner.apply_gradients(pairs, name=name)
        if not self.averages:
            with tf.init_scope():
                self.averages = [tf.Variable(v) for _, v in pairs]
        for average, (_, variable) in zip(self.averages, pairs):
            average.assign(0.9 * average + 0.1 * tf.convert_to_tensor(variable))
        return self.iterations.assign_add(1)


class Aggregates(optimizers.SGD):
    def aggregate_gradients(self, grads_and_vars):
        return super().aggregate_gradients(clipped(grads_and_vars))


class LegacyAggregates(legacy.SGD):
    def _aggregate_gradients(self, grads_and_vars):
        return super()._aggregate_gradients(clipped(grads_and_vars))


class Reorders(optimizers.SGD):
    def compute_gradients(self, loss, var_list, tape=None):
        return clipped(super().compute_gradients(loss, var_list, tape))[::-1]


class Minimizes(optimizers.SGD):
    def minimize(self, loss, var_list, tape=None):
        pairs = self.compute_gradients(loss, var_list, tape)
        self.apply_gradients(clipped(pairs))


def scaled(optimizer):
    return tf.keras.mixed_precision.LossScaleOptimizer(optimizer)


MAKE = {
    "apply": lambda: Named(0.5, momentum=0.9),
    "legacy apply": lambda: LegacyNamed(0.5),
    "apply unless summed": lambda: ClipsUnlessSummed(0.5),
    "wrapper": lambda: MovingAverage(Named(0.5, momentum=0.9)),
    "aggregate": lambda: Aggregates(0.5),
    "legacy aggregate": lambda: LegacyAggregates(0.5),
    "legacy aggregator": lambda: legacy.SGD(0.5, gradient_aggregator=clipped),
    "scaled aggregate": lambda: scaled(Aggregates(0.5)),
    "scaled minimize": lambda: scaled(Minimizes(0.5)),
    "reordered": lambda: Reorders(0.5),
}


def unknown_length():
    data = networks.dataset(networks.batches(3))
    return data.filter(lambda images, labels: True)


@pytest.mark.parametrize(
    "name, replicas",
    [
        ("apply", 2),
        slow("apply unless summed", 2),
        ("aggregate", 2),
        slow("legacy aggregator", 2),
        slow("scaled aggregate", 2),
        ("legacy apply", 1),
        ("wrapper", 1),
        ("legacy aggregate", 1),
        ("scaled minimize", 1),
        ("reordered", 1),
    ],
)
def test_plain_training_equals_keras(name, replicas):
    network = networks.linear((6, 6, 1))
    with models.strategy(replicas).scope():
        keras = tf.keras.models.clone_model(network)
        keras.set_weights(network.get_weights())
        keras.compile(MAKE[name](), networks.LOSS)
    model = models.build("plain", network, None, MAKE[name], replicas=replicas)
    histories = [
        each.fit(unknown_length(), verbose=0).history["loss"]
        for each in (model, keras)
    ]
    np.testing.assert_array_equal(*histories)
    networks.assert_same_weights(model.network, keras)
    # Keras may count the end of a dataset of unknown length as a step.
    assert model.optimizer.iterations.numpy() == 3
    assert not np.allclose(networks.weights(keras), networks.weights(network))


# Its state too, also that of an optimizer inside it.
@pytest.mark.parametrize("name, replicas", [("wrapper", 1), slow("apply", 2)])
def test_a_gradient_that_is_not_finite_changes_nothing(name, replicas):
    network = networks.linear((6, 6, 1))
    model = models.build("plain", network, None, MAKE[name], replicas=replicas)
    images, labels = networks.batch(8, shape=(6, 6, 1))
    fit = functools.partial(model.fit, images, labels, verbose=0)
    fit()
    inner = getattr(model.optimizer, "inner", model.optimizer)

    def state():
        slots = [each for each in inner.variables if each.shape.rank]
        return [each.numpy() for each in (*model.network.weights, *slots)]

    before = state()
    fit(sample_weight=np.where(np.arange(8) == 7, np.nan, 1.0))
    for one, other in zip(state(), before):
        np.testing.assert_array_equal(one, other)
    assert model.skipped_steps == 1
    assert model.optimizer.iterations.numpy() == 2
    fit()
    assert np.isfinite(networks.weights(model.network)).all()
    assert not np.allclose(state()[0], before[0])


def test_an_overridden_minimize_is_refused():
    with pytest.raises(ValueError, match="Received Minimizes, which overri"):
        models.build("plain", optimizer=Minimizes(0.5))


@pytest.mark.slow
def test_rotating_roles_call_an_own_apply_gradients():
    model = models.build(
        ca.RotatingRoles(), optimizer=MAKE["apply"], replicas=3
    )
    before = networks.weights(model.network)
    data = networks.dataset(networks.batches(6, 6))
    history = model.fit(data, verbose=0)
    assert model.optimizer.iterations.numpy() == 1
    assert not np.allclose(networks.weights(model.network), before)
    assert np.isfinite(history.history["loss"]).all()
