"""Optimizers that know variables of the network before it is copied."""

import re

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import in_stack_a
from tests.marks import slow

legacy = tf.keras.optimizers.legacy
IMAGES, LABELS = networks.batch(8, shape=(6, 6, 1))


def fit(model):
    model.fit(IMAGES, LABELS, batch_size=4, shuffle=False, verbose=0)


def gammas(network):
    return {
        variable.name: variable.numpy()
        for variable in network.trainable_variables
        if variable.name.endswith("gamma:0")
    }


def excluded_by_variables(network):
    """Decays every weight to 0 that it does not exclude."""
    optimizer = tf.keras.optimizers.AdamW(1e-8, weight_decay=1e8)
    norm = network.layers[2]
    optimizer.exclude_from_weight_decay(var_list=norm.trainable_weights)
    return optimizer


def excluded_by_name(network):
    optimizer = tf.keras.optimizers.AdamW(1e-8, weight_decay=1e8)
    gamma = re.escape(network.layers[2].gamma.name)
    optimizer.exclude_from_weight_decay(var_names=[f"^{gamma}$"])
    return optimizer


@pytest.mark.parametrize(
    "make", [excluded_by_variables, slow(excluded_by_name)]
)
def test_exclusions_from_weight_decay_apply_to_the_copies(make):
    network = networks.small()
    keras = tf.keras.models.clone_model(network)
    keras.set_weights(network.get_weights())
    keras.compile(make(keras), networks.LOSS)
    fit(keras)
    plain = models.build("plain", network, optimizer=make(network))
    fit(plain)
    # Weights that decay to 0 keep rounding errors.
    networks.assert_same_weights(plain, keras, rtol=1e-4, atol=1e-8)
    optimizer = tf.keras.mixed_precision.LossScaleOptimizer(make(network))
    model = models.build("disadv", network, optimizer=optimizer)
    fit(model)
    assert len(gammas(model.network)) == 2
    for gamma in gammas(model.network).values():
        np.testing.assert_allclose(gamma, 1.0, atol=1e-4)
    kernel = model.network.layers[1].kernel
    assert np.abs(kernel).max() < 1e-4  # It decays.


def test_names_that_lars_excludes_are_those_of_the_given_network():
    network = networks.small()
    gamma = network.layers[2].gamma
    optimizer = ca.LARS(exclude=f"^{gamma.name}", exclude_kinds=())
    model = models.build("disadv", network, optimizer=optimizer)
    excluded = [
        variable.name
        for variable in model.network.trainable_variables
        if optimizer.is_excluded(variable)
    ]
    assert excluded == sorted(gammas(model.network), reverse=True)


@in_stack_a
def test_a_multi_optimizer_trains_split_batch_norms():
    tfa = pytest.importorskip("tensorflow_addons")

    def multi(network):
        halves = network.layers[:2], network.layers[2:]
        rates = legacy.SGD(0.1), legacy.SGD(0.2)
        return tfa.optimizers.MultiOptimizer(list(zip(rates, halves)))

    network = networks.small()
    model = models.build("disadv", network, optimizer=multi(network))
    other = models.build("disadv", network)
    other.compile(multi(other.network), networks.LOSS)
    for each in (model, other):
        fit(each)
    networks.assert_same_weights(model, other)
    assert all((gamma != 1).all() for gamma in gammas(model.network).values())


class Told(tf.keras.optimizers.SGD):
    def __init__(self, variables):
        super().__init__(0.1)
        self.told = variables


def built(optimizer, network):
    network.compile(optimizer, networks.LOSS)
    fit(network)
    return optimizer


REFUSED = {
    "built": lambda n: built(tf.keras.optimizers.SGD(0.1, momentum=0.9), n),
    "rate": lambda n: (lambda gamma: legacy.SGD(lambda: 0.1 * float(gamma[0])))(
        n.layers[2].gamma
    ),
    "list": lambda n: Told(n.trainable_variables[:2]),
    "references": lambda n: Told({v.ref(): 0.1 for v in n.variables}),
    "names": lambda n: Told({"batch_normalization/gamma": 0.1}),
    "layer": lambda n: Told([n.layers[2]]),
    "inside": lambda n: Told(Told(n.trainable_variables)),
    "function": lambda n: legacy.SGD(
        gradient_transformers=[
            lambda pairs: [(g, v) for g, v in pairs if v is n.layers[2].gamma]
        ]
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_optimizers_that_know_variables_otherwise_are_refused(name):
    network = networks.small()
    optimizer = REFUSED[name](network)
    with pytest.raises(ValueError, match="knows no variables.*gamma"):
        models.build("disadv", network, optimizer=optimizer)


# A legacy optimizer creates state for new variables.
def test_a_used_legacy_optimizer_trains_the_copy_like_a_clone():
    network, trained = networks.small(), []
    initial = network.get_weights()
    for copy in (
        tf.keras.models.clone_model,
        lambda network: ca.ConAdvModel(network, None),
    ):
        network.set_weights(initial)
        optimizer = legacy.SGD(lambda: 1.0 / len(network.layers), momentum=0.9)
        built(optimizer, network)
        model = copy(network)
        model.set_weights(network.get_weights())
        built(optimizer, model)
        assert optimizer.iterations == 4
        trained.append(model)
    networks.assert_same_weights(*trained)


def test_an_optimizer_may_know_the_copies():
    network = networks.small()
    model = models.build("disadv", network)
    for variables in (
        model.network.trainable_variables,
        [*network.trainable_variables, *model.network.trainable_variables],
    ):
        model.compile(Told(variables), networks.LOSS)
        model.compile(model.optimizer, networks.LOSS)


# Keras raises an error or a warning.
def test_weights_that_the_loss_does_not_use_are_named(caplog):
    tf.get_logger().addHandler(caplog.handler)
    inputs = tf.keras.Input((6, 6, 1))
    used, unused = (tf.keras.layers.Dense(3, name=n) for n in ("used", "other"))
    x = tf.keras.layers.Flatten()(inputs)
    outputs = used(x) + tf.stop_gradient(unused(x))
    network = tf.keras.Model(inputs, outputs)
    fit(models.build("disadv", network))
    assert "does not depend on the weights ['other/kernel:0'" in caplog.text
    used.trainable = False
    with pytest.raises(ValueError, match="Expected a loss to train.*other/"):
        fit(models.build("plain", network))
