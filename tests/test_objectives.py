"""The attack's loss, and losses that do not fit the network's output."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.attacks import loss as objectives

losses = tf.keras.losses
layers = tf.keras.layers

LOGITS = np.array([[2.0, -1.0, 0.5], [0.0, 0.0, 3.0]], np.float32)
LABELS = np.array([0, 1])
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]


def _cross_entropies():
    shifted = LOGITS - np.log(np.exp(LOGITS).sum(axis=1, keepdims=True))
    return -shifted[[0, 1], LABELS]


# --- attack_loss ------------------------------------------------------------


@pytest.mark.parametrize(
    "loss, labels",
    [
        (losses.SparseCategoricalCrossentropy(from_logits=True), LABELS),
        (losses.CategoricalCrossentropy(True), ONE_HOT),
        (losses.CategoricalCrossentropy(True, 0.1), ONE_HOT),
        ([losses.CategoricalCrossentropy(True, 0.3)], ONE_HOT),
        ({"logits": losses.CategoricalCrossentropy(True, 0.3)}, ONE_HOT),
        (
            losses.SparseCategoricalCrossentropy(
                from_logits=True, reduction="none"
            ),
            LABELS,
        ),
    ],
    ids=["sparse", "one-hot", "smoothed", "list", "dict", "no-reduction"],
)
def test_attack_loss_is_the_sum_without_smoothing(loss, labels):
    value = objectives.attack_loss(loss)(labels, tf.constant(LOGITS))
    np.testing.assert_allclose(value, _cross_entropies().sum(), rtol=1e-5)


def test_attack_loss_does_not_change_the_given_loss():
    loss = losses.CategoricalCrossentropy(True, 0.1, reduction="none")
    before = loss(ONE_HOT, LOGITS).numpy()
    objectives.attack_loss(loss)(ONE_HOT, LOGITS)
    np.testing.assert_array_equal(loss(ONE_HOT, LOGITS), before)
    assert loss.get_config()["label_smoothing"] == 0.1


def test_attack_loss_of_binary_cross_entropy_has_no_smoothing():
    labels, logits = np.array([[1.0], [0.0]]), np.array([[2.0], [3.0]])
    smoothed = losses.BinaryCrossentropy(True, label_smoothing=0.2)
    expected = np.log1p(np.exp(-2.0)) + np.log1p(np.exp(3.0))
    value = objectives.attack_loss(smoothed)(labels, logits)
    np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["mse", "mean_squared_error", losses.mse])
def test_attack_loss_of_names_and_functions(name):
    value = objectives.attack_loss(name)(ONE_HOT, tf.constant(LOGITS))
    expected = ((LOGITS - ONE_HOT) ** 2).mean(axis=1).sum()
    np.testing.assert_allclose(value, expected, rtol=1e-6)


def test_attack_loss_of_a_plain_function():
    def absolute(labels, logits):
        return tf.reduce_mean(tf.abs(logits - labels), axis=-1)

    value = objectives.attack_loss(absolute)(ONE_HOT, tf.constant(LOGITS))
    expected = np.abs(LOGITS - ONE_HOT).mean(axis=1).sum()
    np.testing.assert_allclose(value, expected, rtol=1e-6)


# A custom class need not have a config. It is copied.
@pytest.mark.parametrize("with_config", ["inherited", "not implemented"])
def test_attack_loss_of_a_loss_class_without_config(with_config):
    class Margin(losses.Loss):
        def __init__(self, margin):
            super().__init__()
            self.margin = margin

        def call(self, y_true, y_pred):
            return tf.reduce_sum(self.margin + y_pred - y_true, axis=-1)

    if with_config == "not implemented":

        def get_config(self):
            raise NotImplementedError

        Margin.get_config = get_config

    loss = Margin(0.5)
    value = objectives.attack_loss(loss)(ONE_HOT, tf.constant(LOGITS))
    np.testing.assert_allclose(value, (0.5 + LOGITS - ONE_HOT).sum(), rtol=1e-6)
    mean = (0.5 + LOGITS - ONE_HOT).sum(axis=1).mean()
    np.testing.assert_allclose(loss(ONE_HOT, LOGITS), mean, rtol=1e-6)


@pytest.mark.parametrize(
    "loss, message",
    [
        (None, "received None"),
        ([], "received 0 losses"),
        (["mse", "mae"], "received 2 losses"),
        ({"a": "mse", "b": "mae"}, "received 2 losses"),
        ([None], "received None"),
    ],
    ids=str,
)
def test_missing_or_several_losses_are_refused(loss, message):
    with pytest.raises(ValueError, match=message):
        objectives.attack_loss(loss)


# --- check_output -----------------------------------------------------------


def _network(*tail):
    inputs = x = tf.keras.Input((4,))
    for layer in tail:
        x = layer(x)
    return tf.keras.Model(inputs, x, name="classifier")


def _nested(activation):
    head = _network(layers.Dense(3, activation=activation))
    return _network(layers.Dense(4), head)


# Functions that build networks, by the output of the network.
SOFTMAX = {
    "dense": lambda: _network(layers.Dense(3, activation="softmax")),
    "sigmoid": lambda: _network(layers.Dense(3, activation="sigmoid")),
    "activation": lambda: _network(
        layers.Dense(3), layers.Activation("softmax")
    ),
    "softmax layer": lambda: _network(layers.Dense(3), layers.Softmax()),
    "behind linear": lambda: _network(
        layers.Dense(3, activation="softmax"),
        layers.Activation("linear", dtype="float32"),
    ),
    "nested": lambda: _nested("softmax"),
    "nested sequential": lambda: _network(
        tf.keras.Sequential([layers.Dense(3), layers.Softmax()])
    ),
    "sequential": lambda: tf.keras.Sequential(
        [tf.keras.Input((4,)), layers.Dense(3, activation="softmax")],
        name="classifier",
    ),
}
LINEAR = {
    "dense": lambda: _network(layers.Dense(3)),
    "activation": lambda: _network(
        layers.Dense(3), layers.Activation("linear", dtype="float32")
    ),
    "nested": lambda: _nested(None),
    "hidden softmax": lambda: _network(
        layers.Dense(3, activation="softmax"), layers.Dense(3)
    ),
}
# Networks whose output cannot be determined pass the check.
UNKNOWN = {
    "lambda": lambda: _network(layers.Dense(3), layers.Lambda(lambda x: x)),
    "reshape": lambda: _network(layers.Dense(3), layers.Reshape((3,))),
    "pool": lambda: _network(
        layers.Reshape((2, 2, 1)),
        layers.Conv2D(3, 1),
        layers.GlobalAveragePooling2D(),
    ),
    "einsum": lambda: _network(layers.EinsumDense("ab,bc->ac", 3)),
    "tanh": lambda: _network(layers.Dense(3, activation="tanh")),
}
FROM_LOGITS = {
    "sparse": losses.SparseCategoricalCrossentropy(from_logits=True),
    "one-hot": losses.CategoricalCrossentropy(from_logits=True),
    "binary": losses.BinaryCrossentropy(from_logits=True),
}
FROM_PROBABILITIES = {
    "sparse": losses.SparseCategoricalCrossentropy(),
    "one-hot": losses.CategoricalCrossentropy(),
    "name": "sparse_categorical_crossentropy",
    "function": losses.categorical_crossentropy,
    "list": ["binary_crossentropy"],
}


def _raises(network, loss, message):
    with pytest.raises(ValueError, match=message):
        objectives.check_output(network, loss)


@pytest.mark.parametrize("network", SOFTMAX)
def test_probabilities_and_a_loss_for_logits_are_refused(network):
    made = SOFTMAX[network]()
    message = "'classifier' ends in (softmax|sigmoid) .* from_logits=True"
    for loss in FROM_LOGITS.values():
        _raises(made, loss, message)


@pytest.mark.parametrize("network", LINEAR)
def test_logits_and_a_loss_for_probabilities_are_refused(network):
    made = LINEAR[network]()
    message = "'classifier' ends in a linear layer.* expects probabilities"
    for loss in FROM_PROBABILITIES.values():
        _raises(made, loss, message)


@pytest.mark.parametrize("network", [*SOFTMAX, *UNKNOWN])
def test_probabilities_and_their_losses_pass(network):
    made = {**SOFTMAX, **UNKNOWN}[network]()
    for loss in FROM_PROBABILITIES.values():
        objectives.check_output(made, loss)


@pytest.mark.parametrize(
    "network", [LINEAR, UNKNOWN], ids=["linear", "unknown"]
)
def test_logits_and_their_losses_pass(network):
    for make in network.values():
        made = make()
        for loss in FROM_LOGITS.values():
            objectives.check_output(made, loss)


def test_losses_without_from_logits_pass():
    for make in (SOFTMAX["dense"], LINEAR["dense"]):
        objectives.check_output(make(), "mse")
        objectives.check_output(make(), lambda y, p: tf.reduce_sum(p - y))


# --- check_labels -----------------------------------------------------------

IDS = np.array([0, 1, 2, 0])
ROWS = np.eye(3, dtype=np.float32)[IDS]


@pytest.mark.parametrize("attack", [None, ca.FGSM(0.1)], ids=["plain", "fgsm"])
@pytest.mark.parametrize(
    "loss, labels, message",
    [
        (FROM_LOGITS["one-hot"], IDS, r"\[batch, 3\] .* CategoricalCrossent"),
        (losses.MeanSquaredError(), IDS[:, None], "the loss MeanSquaredError;"),
        ("mse", IDS, r"rows .* the loss mean_squared_error; .*one_hot\(labels"),
        (
            FROM_LOGITS["sparse"],
            ROWS,
            r"class ids .* \(None, 3\), one-hot.*argm",
        ),
    ],
)
def test_labels_in_the_format_of_another_loss_are_refused(
    attack, loss, labels, message
):
    model = ca.ConAdvModel(_network(layers.Dense(3)), attack)
    model.compile("sgd", loss)
    with pytest.raises(ValueError, match=message) as error:
        model.fit(np.ones([4, 4], np.float32) / 2, labels, verbose=0)
    assert "in user code" not in str(error.value)


@pytest.mark.parametrize(
    "loss, labels, num_outputs",
    [
        (FROM_LOGITS["one-hot"], ROWS, 3),
        ("mse", ROWS, 3),
        ("mse", IDS[:, None], 1),
        (FROM_LOGITS["sparse"], IDS, 3),
        (FROM_LOGITS["sparse"], IDS[:, None], 3),
        # A loss of the user may take any format.
        (lambda y, p: tf.reduce_sum(p, -1), IDS, 3),
    ],
)
def test_labels_in_the_format_of_the_loss_pass(loss, labels, num_outputs):
    spec = tf.TensorSpec([None, *labels.shape[1:]])
    objectives.check_labels(objectives.single_loss(loss), spec, num_outputs)
