"""What `ca.Delayed` refuses, and models with it in files."""

import dataclasses
import math
import re

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import analysis
from conadv_tf import steps
from tests import delayed_models
from tests import models
from tests import networks

STEP = ca.Delayed(ca.Concurrent(), epoch=1)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            {"step": ca.SharedPass()},
            r"a condition, for example ca\.Delayed\(SharedPass\(.*"
            r"accuracy=0\.95\); received none\. .*pass the step itself",
        ),
        *(
            (
                {"step": step, "epoch": 1},
                "a step that attacks.*received " + name,
            )
            for step, name in (
                (ca.Plain(), "Plain"),
                (STEP, r"Delayed\("),
                ("conadv", "'conadv'"),
                (None, "None"),
                (ca.Concurrent, "<class"),
            )
        ),
        *(
            (
                {"step": ca.SharedPass(), "accuracy": value},
                rf"accuracy in \(0, 1\]; received {re.escape(repr(value))}\.",
            )
            for value in (0, 1.5, -0.1, True, "0.9", math.nan, math.inf)
        ),
        *(
            (
                {"step": ca.SharedPass(), name: value},
                rf"{name} to be an integer >= 1; received {value!r}\.",
            )
            for name in ("epoch", "update")
            for value in (0, -1, 2.0, True, "3")
        ),
    ],
)
def test_wrong_options(arguments, message):
    with pytest.raises(ValueError, match=message):
        ca.Delayed(**arguments)


@pytest.mark.parametrize(
    "step, arguments, message",
    [
        (STEP, {"attack": None}, r"attack with step=Delayed\(.*attack=None"),
        (STEP, {"views": 2}, r"views=1 with step=ca\.Delayed\(.*views=2"),
        (
            ca.Delayed(ca.SharedPass(), epoch=1),
            {"attack": ca.PGD(0.1, num_steps=3)},
            "num_steps=1 .*received num_steps=3",
        ),
    ],
)
def test_arguments_that_do_not_fit(step, arguments, message):
    arguments = {"attack": ca.FGSM(0.1), **arguments}
    with pytest.raises(ValueError, match=message):
        ca.ConAdvModel(networks.linear(), step=step, **arguments)


def linear(step=STEP, **arguments):
    return models.build(step, networks.linear((6, 6, 1)), **arguments)


def test_training_without_epochs_is_refused():
    model = linear()
    batch = networks.batches(1)[0]
    with pytest.raises(ValueError, match="fit with step=ca.Delayed.*on_batch"):
        model.train_on_batch(*batch)
    for call in (model.train_step, tf.function(model.train_step)):
        with pytest.raises(ValueError, match="fit with.*train_step.*custom"):
            call(tuple(map(tf.constant, batch)))
    model.fit(*batch, epochs=2, verbose=0)
    with pytest.raises(ValueError, match="fit with.*train_step.*custom"):
        model.train_step(tuple(map(tf.constant, batch)))


def test_labels_whose_accuracy_is_unknown():
    step = ca.Delayed(ca.Concurrent(), accuracy=0.9)
    binary = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    with pytest.raises(
        ValueError, match=r"metrics=\[.accuracy.\].*epoch=\.\.\."
    ):
        linear(step, loss=binary, metrics=[])
    images, _ = models.arrays(8)
    table = tf.keras.layers.StringLookup(vocabulary=["a", "b"])

    def of_names(labels, logits):
        ids = table(labels)
        return tf.keras.losses.sparse_categorical_crossentropy(
            ids, logits, from_logits=True
        )

    model = linear(step, loss=of_names, metrics=[])
    with pytest.raises(ValueError, match="numbers.*received strings.*epoch"):
        model.fit(images, np.array(["a", "b"] * 4), verbose=0)


# What the plain phase could do, but not the attack, is refused at the first
# `fit` and not after epochs of training.
def test_data_that_the_attack_refuses_are_refused_at_once():
    images, labels = (each[:19] for each in models.arrays())
    data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(8)
    model = linear(ca.Delayed(ca.Concurrent(), epoch=9), jit_compile=True)
    with pytest.raises(ValueError, match="drop_remainder=True"):
        model.fit(data, verbose=0)
    assert model.optimizer.iterations == 0
    model.fit(images[:16], labels[:16], batch_size=8, verbose=0)
    assert model.optimizer.iterations == 2

    model = linear(ca.Delayed(ca.RotatingRoles(), epoch=9), replicas=2)
    with pytest.raises(ValueError, match="multiple of 3 replicas.*received 2"):
        model.fit(*models.arrays(), verbose=0)
    with pytest.raises(ValueError, match="steps_per_execution=1.*received 3"):
        linear(
            ca.Delayed(ca.Concurrent(microbatches=2), epoch=9),
            steps_per_execution=3,
        )


CALLS = tf.Variable(0.0)


def _loss_that_counts(labels, logits):
    CALLS.assign_add(1.0)
    return tf.keras.losses.sparse_categorical_crossentropy(
        labels, logits, from_logits=True
    )


# These were found when the attack began.
@pytest.mark.parametrize(
    "layer, loss, size, message",
    [
        (tf.keras.layers.Lambda(tf.round), None, (), "gradient.*'lambda"),
        (tf.keras.layers.Flatten(), _loss_that_counts, (), "no variables"),
        (tf.keras.layers.Conv2D(3, 1), None, (6, 6), "labels of shape"),
    ],
)
def test_attacks_that_fail_are_refused_at_once(layer, loss, size, message):
    last = tf.keras.layers.Dense(networks.CLASSES)
    network = tf.keras.Sequential([tf.keras.Input((6, 6, 1)), layer, last])
    model = models.build(STEP, network, loss=loss or networks.LOSS, metrics=[])
    images, _ = networks.batches(1)[0]
    with pytest.raises(ValueError, match=message):
        model.fit(images, np.zeros([8, *size], np.int64), epochs=2, verbose=0)
    assert model.optimizer.iterations == 0


def _loss_of_a_known_size(labels, logits):
    losses = tf.keras.losses.sparse_categorical_crossentropy(
        tf.reshape(labels, [labels.shape[0]]), logits, from_logits=True
    )
    return tf.reshape(losses, [logits.shape[0]])


# With XLA the check knows the size of a batch, like the step.
def test_static_sizes_are_known_to_the_check():
    step = ca.Delayed(ca.Sequential(), epoch=1)
    model = models.build(step, loss=_loss_of_a_known_size, jit_compile=True)
    data = networks.dataset(networks.batches(2))
    history = model.fit(data, epochs=2, verbose=0).history
    assert history["attacked"] == [0.0, 1.0]


# The check of the attack traced these layers, which changed their next draws.
def test_random_layers_draw_as_in_plain_training():
    def network():
        return tf.keras.Sequential(
            [
                tf.keras.Input((6, 6, 1)),
                tf.keras.layers.Dropout(0.5, seed=3),
                tf.keras.layers.Flatten(),
                tf.keras.layers.Dense(networks.CLASSES),
            ]
        )

    step = ca.Delayed(ca.Concurrent(), epoch=9)
    trained = [
        delayed_models.build(each, network) for each in (step, ca.Plain())
    ]
    for model in trained:
        model.fit(delayed_models.data(), verbose=0)
    delayed_models.assert_plain(*trained)


def test_drift_of_stale_weights_is_refused():
    watch = analysis.StalenessDrift(*networks.batches(1)[0])
    with pytest.raises(ValueError, match=r"Delayed\(.*step=ca\.Concurrent\("):
        linear().fit(*models.arrays(), callbacks=[watch], verbose=0)


def test_config_round_trip():
    step = ca.Delayed(
        ca.SharedPass(fraction=np.float32(0.5)),
        accuracy=np.float32(0.75),
        epoch=np.int64(2),
    )
    assert step.fraction == 0.5 and type(step.epoch) is int
    assert steps.deserialize(steps.serialize(step)) == step
    assert dataclasses.replace(step, update=3).step == step.step


@pytest.mark.slow
@pytest.mark.parametrize("started", [False, True])
def test_save_and_load_the_whole_model(started, tmp_path):
    step = ca.Delayed(ca.Concurrent(staleness=2), epoch=2)
    model = delayed_models.build(step)
    data = delayed_models.data()
    model.fit(data, epochs=3 if started else 1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    assert loaded.step == step
    networks.assert_same_weights(model, loaded)
    history = loaded.fit(data, epochs=3, verbose=0).history
    assert history["attacked"] == [0.0, 0.0, 1.0]
    np.testing.assert_array_equal(
        loaded.export_network().predict(data, verbose=0),
        loaded.predict(data, verbose=0),
    )


@dataclasses.dataclass(frozen=True)
class NotRegistered(ca.Concurrent):
    pass


def test_a_step_that_is_not_registered_trains_but_is_not_saved(tmp_path):
    model = linear(ca.Delayed(NotRegistered(), epoch=1))
    history = model.fit(*models.arrays(), epochs=2, verbose=0).history
    assert history["attacked"] == [0.0, 1.0]
    with pytest.raises(ValueError, match="registered with.*NotRegistered"):
        model.save(tmp_path / "model.keras")
