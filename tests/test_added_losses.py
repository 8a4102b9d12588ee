"""Losses that no config has are copied, and trained as Keras trains them."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks

LAYERS = tf.keras.layers


def decay(weights):
    return 0.1 * tf.add_n([tf.nn.l2_loss(weight) for weight in weights])


def by_default_argument(network):
    for layer in network.layers:
        if hasattr(layer, "kernel"):
            layer.add_loss(lambda layer=layer: decay([layer.kernel]))


def by_closure(network):
    def kernels():
        for layer in network.layers:
            yield from [layer.kernel] if hasattr(layer, "kernel") else []

    network.add_loss(lambda: decay(kernels()))


def of_variables(network):
    kernels = {"all": [w for w in network.weights if "kernel" in w.name]}
    network.add_loss(lambda: decay(kernels["all"]))


def from_the_start(network):
    # Weight decay towards the first weights.
    layer = network.layers[-1]
    start = tf.constant(layer.get_weights()[0] + 1.0)
    layer.add_loss(lambda: decay([layer.kernel - start]))


class Decay:
    """An object that no closure shows."""

    def __init__(self, network):
        self.network = network

    def __call__(self):
        return decay([self.network.layers[-1].kernel])


RECIPES = [by_default_argument, by_closure, of_variables, from_the_start]


def network_with(add, batch_norm=False):
    tf.keras.utils.set_random_seed(0)
    network = networks.small() if batch_norm else networks.linear((6, 6, 1))
    add(network)
    return network


# The copy had no loss at all.
@pytest.mark.parametrize("add", RECIPES)
def test_training_equals_keras(add):
    network, plain = network_with(add), network_with(add)
    model = ca.ConAdvModel(network, None)
    histories = []
    for each in (model, plain):
        each.compile("sgd", networks.LOSS)
        data = networks.dataset(networks.batches(2))
        histories.append(each.fit(data, verbose=0).history["loss"])
    assert histories[0] == histories[1]
    networks.assert_same_weights(model, plain)
    assert len(model.losses) == len(model.export_network().losses)


def watched(losses_of):
    with tf.GradientTape() as tape:
        total = sum(map(float, losses_of.losses))
    return total, {weight.name for weight in tape.watched_variables()}


# The layers of the copy are split batch norms and strided convolutions.
@pytest.mark.parametrize("add", RECIPES)
def test_the_gradient_reaches_the_copy(add):
    network = network_with(add, batch_norm=True)
    model = ca.ConAdvModel(network, ca.FGSM(0.1))
    assert watched(model) == watched(network) == watched(model.export_network())
    before = watched(model)[0]
    for weight in network.weights:
        weight.assign(0.0 * weight)
    assert watched(model)[0] == before > 0
    for weight in model.network.trainable_weights:
        weight.assign(2.0 * weight)
    if add is not from_the_start:
        assert watched(model)[0] == pytest.approx(4 * before)


@pytest.mark.parametrize("whole", [False, True])
def test_the_loss_of_a_batch_norm_concerns_all_branches(whole):
    network = networks.small()
    norm = network.layers[2]
    if whole:
        network.add_loss(lambda: decay(network.trainable_weights))
    else:
        norm.add_loss(lambda: decay([norm.gamma]))
    model = ca.ConAdvModel(network, ca.FGSM(0.1))
    _, names = watched(model)
    assert {
        f"{norm.name}/{at}/gamma:0" for at in ("main", "auxiliary")
    } <= names
    merged = model.export_network()
    assert watched(merged)[1] == watched(network)[1]
    assert watched(merged)[0] == pytest.approx(watched(network)[0])


def opaque(network):
    network.add_loss(Decay(network))


def of_a_branch(network):
    norm = network.layers[2]
    network.add_loss(lambda: decay([norm.gamma, network.layers[1].kernel]))


@pytest.mark.parametrize("add", [opaque, of_a_branch])
def test_losses_that_cannot_be_moved_are_refused(add):
    with pytest.raises(ValueError, match="'model.*add_loss.*model.network"):
        ca.ConAdvModel(network_with(add, batch_norm=True), ca.FGSM(0.1))


# The remedy of the error.
def test_losses_of_the_copy():
    network = networks.linear((6, 6, 1))
    model = ca.ConAdvModel(network, ca.FGSM(0.0))
    by_default_argument(model.network)
    model.network.add_loss(Decay(model.network))
    model.compile("sgd", networks.LOSS)
    images, labels = networks.batches(1)[0]
    penalty = sum(map(float, model.losses))
    loss = model.train_on_batch(images, labels, return_dict=True)["loss"]
    plain = networks.LOSS(labels, network(images, training=True))
    assert loss == pytest.approx(float(plain) + penalty, rel=1e-5)
    with pytest.warns(UserWarning, match="lacks losses.*add_loss"):
        model.export_network()


def test_losses_added_later_are_reported():
    network = networks.linear()
    model = ca.ConAdvModel(network, None)
    by_closure(network)
    with pytest.warns(UserWarning, match=r"added losses of \['model"):
        model.compile("sgd", networks.LOSS)


def test_mirrored_and_mixed_precision_variables():
    policy = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
            network = network_with(by_default_argument, batch_norm=True)
            model = ca.ConAdvModel(network, ca.FGSM(0.1))
    finally:
        tf.keras.mixed_precision.set_global_policy(policy)
    assert len(model.losses) == 2
    assert watched(model) == watched(network)


# --- Attributes that were set after a layer was built -------------------------


def set_regularizer(layer):
    layer.kernel_regularizer = tf.keras.regularizers.L2(0.1)


def change_regularizer(layer):
    layer.bias_regularizer = tf.keras.regularizers.L2(0.3)


def set_constraint(layer):
    layer.kernel_constraint = tf.keras.constraints.NonNeg()


# Keras ignores the change, but the copy was trained with it.
@pytest.mark.parametrize(
    "change, kind",
    [
        (set_regularizer, "regularizer"),
        (change_regularizer, "regularizer"),
        (set_constraint, "constraint"),
    ],
)
def test_changes_without_effect_are_refused(change, kind):
    inputs = tf.keras.Input((4,))
    layer = LAYERS.Dense(
        3, name="mine", bias_regularizer="l2", bias_initializer="ones"
    )
    network = tf.keras.Model(inputs, layer(inputs))
    model = ca.ConAdvModel(network, None)
    layer.bias_regularizer = None
    assert ca.ConAdvModel(network, None).losses == model.losses != []
    layer.bias_regularizer = tf.keras.regularizers.L2(0.01)
    change(layer)
    with pytest.raises(ValueError, match=f"A {kind} of 'mine'.*clone_model"):
        ca.ConAdvModel(network, None)


# Keras omits it in the config of a layer without weights.
def test_activity_regularizers_are_copied():
    inputs = tf.keras.Input((4,))
    outputs = LAYERS.ReLU(activity_regularizer="l2")(inputs)
    network = tf.keras.Model(inputs, LAYERS.Dense(3)(outputs))
    copy = ca.ConAdvModel(network, None).network
    losses = [
        each(np.ones([2, 4])) is None or each.losses for each in (copy, network)
    ]
    assert losses[0] == losses[1] != []


class Scheduled(tf.keras.regularizers.Regularizer):
    """A weight decay whose strength is a variable."""

    def __init__(self):
        self.strength = tf.Variable(1.0)

    def __call__(self, weights):
        return self.strength * tf.reduce_sum(weights**2)

    def get_config(self):
        return {}


def test_a_schedule_of_a_regularizer_reaches_the_copy():
    regularizer = Scheduled()
    inputs = tf.keras.Input((4,))
    outputs = LAYERS.Dense(3, kernel_regularizer=regularizer)(inputs)
    network = tf.keras.Model(inputs, outputs)
    model = ca.ConAdvModel(network, None)
    regularizer.strength.assign(5.0)
    np.testing.assert_allclose(model.losses, network.losses)
