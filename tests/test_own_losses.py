"""Loss classes with constructors, configs or variables that Keras's lack."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.attacks import loss as loss_lib
from tests import models
from tests import networks

losses = tf.keras.losses
LOGITS = tf.constant([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0]])
ONE_HOT = np.eye(3, dtype=np.float32)[[0, 1]]


class Weighted(losses.CategoricalCrossentropy):
    """Has another constructor; it does not take its own config."""

    def __init__(self, *, class_weights):
        super().__init__(from_logits=True, label_smoothing=0.1)
        self.class_weights = tf.constant(class_weights)

    def call(self, y_true, y_pred):
        weights = tf.reduce_sum(y_true * self.class_weights, -1)
        return super().call(y_true, y_pred) * weights


class Signed(losses.CategoricalCrossentropy):
    """Its config leaves out an argument that has a default."""

    def __init__(self, sign=1.0, **arguments):
        super().__init__(**{"from_logits": True, **arguments})
        self.sign = sign

    def call(self, y_true, y_pred):
        return self.sign * super().call(y_true, y_pred)


class Mixed(losses.Loss):
    """Holds another loss."""

    def __init__(self, label_smoothing):
        super().__init__()
        self.smoothed = losses.CategoricalCrossentropy(True, label_smoothing)

    def call(self, y_true, y_pred):
        return self.smoothed(y_true, y_pred) + losses.mse(y_true, y_pred)


class Renamed(losses.Loss):
    """Keeps its label smoothing under another name than the config."""

    def __init__(self, label_smoothing):
        super().__init__()
        self.ls = label_smoothing

    def get_config(self):
        return {**super().get_config(), "label_smoothing": self.ls}

    def call(self, y_true, y_pred):
        return losses.categorical_crossentropy(
            y_true, y_pred, True, label_smoothing=self.ls
        )


class Smoothing(losses.Loss):
    """Has the constructor that its config needs."""

    def __init__(self, label_smoothing, kind="", **arguments):
        super().__init__(**arguments)
        self.kind, self.key = kind, "label_smoothing"
        if kind == "own":
            self.label_smoothing = label_smoothing
        self.smoothing, self.on = label_smoothing, 1 - label_smoothing
        if kind == "inner":
            self.inner = losses.CategoricalCrossentropy(
                True, label_smoothing, reduction="none"
            )
        if kind == "variable":
            self.label_smoothing = label_smoothing
            self.scale = tf.Variable(1.0, trainable=False)

    def get_config(self):
        config = {**super().get_config(), "kind": self.kind}
        return {**config, self.key: self.smoothing}

    def call(self, y_true, y_pred):
        if self.kind == "inner":
            return self.inner(y_true, y_pred)
        if self.kind == "variable":
            y_true = y_true * (1 - self.label_smoothing) * self.scale
        else:
            y_true = y_true * self.on
        return losses.categorical_crossentropy(
            y_true + (1 - tf.reduce_sum(y_true, -1, True)) / 3, y_pred, True
        )


class Counting(losses.Loss):
    """Assigns a variable in its call."""

    def __init__(self):
        super().__init__()
        self.calls = tf.Variable(0.0, trainable=False)

    def get_config(self):
        raise RuntimeError("A config that cannot be made.")

    def call(self, y_true, y_pred):
        self.calls.assign_add(1.0)
        return losses.sparse_categorical_crossentropy(y_true, y_pred, True)


def test_the_attack_increases_the_given_loss_without_smoothing():
    cross_entropy = losses.categorical_crossentropy(ONE_HOT, LOGITS, True)
    cross_entropy = cross_entropy.numpy()
    squares = losses.mse(ONE_HOT, LOGITS).numpy()
    weighted = (cross_entropy * [2.0, 5.0]).sum()
    for loss, expected in (
        (Weighted(class_weights=[2.0, 5.0, 7.0]), weighted),
        (Signed(-1.0, label_smoothing=0.1), -cross_entropy.sum()),
        (Mixed(0.1), (cross_entropy.mean() + squares).sum()),
        (Renamed(0.0), cross_entropy.sum()),
    ):
        before = loss(ONE_HOT, LOGITS).numpy()
        value = loss_lib.attack_loss(loss)(ONE_HOT, LOGITS)
        np.testing.assert_allclose(value, expected, 1e-5, err_msg=str(loss))
        np.testing.assert_array_equal(loss(ONE_HOT, LOGITS), before)


def squares(labels, outputs):
    return tf.reduce_mean((labels - outputs) ** 2, -1)


class Squares(losses.Loss):
    def call(self, y_true, y_pred):
        return squares(y_true, y_pred)


# A loss of [n] and [n, 1] broadcast them to [n, n].
@pytest.mark.parametrize(
    "loss",
    ["mse", "binary_crossentropy", squares, Squares()],
    ids=["mse", "binary", "function", "object"],
)
def test_labels_have_the_rank_and_dtype_that_keras_passes(loss):
    images, labels = networks.batch(16)
    labels = (labels > 1).astype(np.float64)
    network = networks.linear(num_classes=1)
    outputs = tf.sigmoid(network.outputs[0])
    network = tf.keras.Model(network.inputs, outputs)
    summed = loss_lib.attack_loss(loss)
    ranked = labels[:, None]
    attack = ca.PGD(0.1, random_start=0)
    flat, expected = (
        attack(network, images, tf.constant(each), seed=0, loss=summed)
        for each in (labels, ranked)
    )
    np.testing.assert_array_equal(flat, expected)
    network.compile("sgd", loss)
    keras = network.evaluate(images, labels, verbose=0)
    value = summed(tf.constant(labels), network(images)) / 16
    np.testing.assert_allclose(value, keras, rtol=1e-5)


def test_the_attack_sees_changes_of_a_loss_after_compile():
    loss = Signed()
    summed = loss_lib.attack_loss(loss)
    before = summed(ONE_HOT, LOGITS)
    loss.sign = -2.0
    np.testing.assert_allclose(summed(ONE_HOT, LOGITS), -2 * before)


@pytest.mark.parametrize("kind", ["own", "renamed", "inner", "variable"])
@pytest.mark.parametrize("replicas", [1, 2])
def test_smoothing_that_a_constructor_keeps_is_removed(kind, replicas):
    summed = loss_lib.attack_loss(Smoothing(0.1, kind))
    expected = losses.CategoricalCrossentropy(True, reduction="sum")
    strategy = models.strategy(replicas)
    values = strategy.run(tf.function(summed), (ONE_HOT, LOGITS))
    for value in strategy.experimental_local_results(values):
        np.testing.assert_allclose(value, expected(ONE_HOT, LOGITS), 1e-6)


def test_smoothing_that_cannot_be_removed_is_refused():
    with pytest.raises(ValueError, match="Renamed with label_smoothing=0.1"):
        models.build(loss=Renamed(0.1))
    loss = Smoothing(0.1, "own")
    loss.key = "other"  # The config is not complete.
    with pytest.raises(ValueError, match="Smoothing with label_smoothing=0.1"):
        loss_lib.attack_loss(loss)(ONE_HOT, LOGITS)


# Plain Keras calls it once in each step.
def test_a_loss_that_assigns_variables_trains_without_an_attack_only():
    images, labels = networks.batch(8, shape=(6, 6, 1))
    model = models.build(loss=Counting())
    with pytest.raises(ValueError, match="received Counting, which does"):
        model.fit(images, labels, verbose=0)
    model = models.build("plain", loss=Counting())
    model.fit(images, labels, batch_size=4, verbose=0)
    assert model.loss.calls.numpy() == 2


# The logs doubled on two replicas, where Keras does not scale these losses.
def test_losses_that_are_not_reduced_are_logged_as_in_keras():
    loss = losses.SparseCategoricalCrossentropy(True, reduction="none")
    network, data = (
        networks.linear((6, 6, 1)),
        networks.dataset(networks.batches(1)),
    )
    step = ca.Sequential(weight=0.0)
    histories, results = [], []
    for replicas in (1, 2):
        model = models.build(
            step,
            network,
            optimizer=tf.keras.optimizers.SGD(0.1),
            loss=loss,
            replicas=replicas,
        )
        histories.append(model.fit(data, verbose=0).history)
        results.append(networks.weights(model.network))
    keras = tf.keras.models.clone_model(network)
    keras.set_weights(network.get_weights())
    keras.compile(tf.keras.optimizers.SGD(0.1), loss)
    expected = keras.fit(data, verbose=0).history["loss"]
    for history, weights in zip(histories, results):
        np.testing.assert_allclose(history["clean_loss"], expected, rtol=1e-5)
        np.testing.assert_allclose(weights, networks.weights(keras), atol=1e-6)


@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_sums_over_sub_batches_of_other_sizes_are_refused(reduction):
    loss = losses.SparseCategoricalCrossentropy(True, reduction=reduction)
    for step in (ca.Sequential(fraction=0.5), ca.SharedPass()):
        message = f"{type(step).__name__}.*received reduction='{reduction}'"
        with pytest.raises(ValueError, match=message):
            models.build(step, loss=loss)
