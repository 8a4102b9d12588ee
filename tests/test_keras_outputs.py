"""What Keras finds on the outputs of a network: logits and masks."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks
from tests.marks import slow

layers = tf.keras.layers
STEPS = {
    "disadv": ca.Sequential(),
    "fraction": ca.Concurrent(fraction=0.5),
    "shared pass": ca.SharedPass(),
}
# {head: (activation of the last Dense, layer after it, loss of probabilities)}.
HEADS = {
    "dense": ("softmax", None, "sparse_categorical_crossentropy"),
    "layer": (None, layers.Softmax, "sparse_categorical_crossentropy"),
    "sigmoid": ("sigmoid", None, "binary_crossentropy"),
}
LOSSES_OF_LOGITS = {
    "sparse_categorical_crossentropy": networks.LOSS,
    "binary_crossentropy": tf.keras.losses.BinaryCrossentropy(from_logits=True),
}


def network(activation=None, last_layer=None, dtype="float32"):
    """A network that is certain of class 0, or of all classes but one."""
    images = tf.keras.Input((6, 6, 1))
    features = layers.Flatten()(images)
    features = layers.Dense(8, activation="relu", dtype=dtype)(features)
    head = layers.Dense(4, activation=activation, dtype=dtype)
    outputs = head(features)
    head.bias.assign([40.0, 0.0, -40.0, 20.0])
    if last_layer is not None:
        outputs = last_layer(dtype="float32")(outputs)
    return tf.keras.Model(images, outputs)


def trained(built, loss, step, **compile_args):
    """Returns (weights, losses of fit, evaluation)."""
    model = ca.ConAdvModel(built, ca.PGD(0.1), step=step)
    model.compile(tf.keras.optimizers.SGD(0.1), loss, **compile_args)
    images = networks.batch(8, shape=(6, 6, 1))[0]
    labels = np.arange(8) % 4
    if "binary" in str(getattr(loss, "name", loss)):
        labels = np.eye(4, dtype="float32")[labels]
    history = model.fit(images, labels, batch_size=4, epochs=2, verbose=0)
    return np.hstack(
        [
            networks.weights(model.network),
            history.history["loss"],
            model.evaluate(images, labels, verbose=0),
        ]
    )


def assert_trains_like_logits(
    head, step, dtype="float32", rtol=1e-6, **options
):
    activation, last_layer, loss = HEADS[head]
    probabilities = network(activation, last_layer, dtype)
    logits = network(dtype=dtype)
    logits.set_weights(probabilities.get_weights())
    np.testing.assert_allclose(
        trained(probabilities, loss, STEPS[step], **options),
        trained(logits, LOSSES_OF_LOGITS[loss], STEPS[step], **options),
        rtol=rtol,
    )


# The loss was 16.1 = -log(1e-7) and its gradient 0 where plain Keras learns.
@pytest.mark.parametrize(
    "head, step",
    [
        ("dense", "disadv"),
        slow("layer", "fraction"),
        slow("dense", "shared pass"),
        ("sigmoid", "shared pass"),
    ],
)
def test_probabilities_train_like_logits(head, step):
    assert_trains_like_logits(head, step)


def test_probabilities_train_like_logits_eagerly():
    assert_trains_like_logits("dense", "shared pass", run_eagerly=True)


# The last layer computes in float32 or, with the activation of the last Dense,
# in float16. Their outputs are cast, and the attack scales its gradients.
@pytest.mark.parametrize(
    "head, step", [slow("sigmoid", "fraction"), ("layer", "shared pass")]
)
def test_probabilities_of_float16_train_like_logits(head, step):
    assert_trains_like_logits(head, step, "mixed_float16", rtol=2e-3)


# Plain Keras leaves examples out of its loss that the outputs' mask leaves out.
def test_masked_outputs_train_like_keras():
    examples = tf.keras.Input((2,))
    outputs = layers.Dense(3)(layers.Masking()(examples))
    built = tf.keras.Model(examples, outputs)
    images, labels = networks.batch(8, shape=(2,))
    images[::3] = 0.0
    copy = tf.keras.models.clone_model(built)
    copy.set_weights(built.get_weights())
    model = ca.ConAdvModel(built, ca.PGD(0.0), step=ca.Sequential())
    for each in (copy, model):
        each.compile(tf.keras.optimizers.SGD(0.5), networks.LOSS)
        each.fit(images, labels, batch_size=4, shuffle=False, verbose=0)
    networks.assert_same_weights(model.network, copy, rtol=1e-5, atol=1e-6)
