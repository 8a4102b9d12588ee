"""When `ca.Delayed` starts its attack."""

import functools
import re

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import delayed_models
from tests import models
from tests import networks
from tests.marks import all_slow_but
from tests.marks import slow

BINARY = tf.keras.losses.BinaryCrossentropy(from_logits=True)
ONE_HOT = tf.keras.losses.CategoricalCrossentropy(
    from_logits=True, label_smoothing=0.1
)


def linear(outputs=3):
    return networks.linear((6, 6, 1), outputs)


def build(step, network=linear, **arguments):
    sgd = tf.keras.optimizers.SGD(0.1, momentum=0.9)
    return delayed_models.build(
        step, network, **{"optimizer": sgd, **arguments}
    )


def labelled(data, function):
    return data.map(lambda x, y, *weight: (x, function(y), *weight))


# {name: (arguments of the model, data)}.
ACCURACIES = {
    "ids": ({}, delayed_models.data()),
    "replicas": (
        {"replicas": 2, "weighted_metrics": ["accuracy"], "metrics": []},
        delayed_models.data(True),
    ),
    "weighted column": (
        {"weighted_metrics": ["accuracy"], "metrics": []},
        delayed_models.data(True).map(lambda x, y, w: (x, y, w[:, None])),
    ),
    "weights of the loss only": ({}, delayed_models.data(True)),
    "one-hot": (
        {"loss": ONE_HOT},
        labelled(delayed_models.data(), lambda y: tf.one_hot(y, 3)),
    ),
    "binary": (
        {
            "loss": BINARY,
            "network": functools.partial(linear, 1),
            # By its name, Keras's accuracy takes logits for probabilities.
            "metrics": [tf.keras.metrics.BinaryAccuracy("accuracy", None, 0)],
        },
        labelled(delayed_models.data(), lambda y: y[:, None] > 0),
    ),
    "labels in a column": (
        {},
        labelled(delayed_models.data(), lambda y: y[:, None]),
    ),
    "execution": ({"steps_per_execution": 3}, delayed_models.data()),
    "micro-batches": (
        {"step": ca.Concurrent(microbatches=3)},
        delayed_models.data(),
    ),
}


# Validation resets and updates the metrics of Keras.
@pytest.mark.parametrize(
    "name", all_slow_but(["replicas", "one-hot"], ACCURACIES)
)
def test_the_accuracy_is_that_of_the_clean_images(name, monkeypatch):
    arguments, data = ACCURACIES[name]
    decisions = delayed_models.Decisions(monkeypatch)
    arguments = {"step": ca.Concurrent(), **arguments}
    model = build(ca.Delayed(arguments.pop("step"), accuracy=1.0), **arguments)
    validation = networks.batches(1, seed=7)[0]
    if "loss" in arguments:
        validation = None
    history = model.fit(
        data, epochs=3, validation_data=validation, verbose=0
    ).history
    np.testing.assert_allclose(decisions.seen, history["accuracy"], rtol=1e-6)
    assert 0 < min(decisions.seen) and max(decisions.seen) < 1


def epochs_before(step, epochs=5, **arguments):
    model = build(step, **arguments)
    history = model.fit(delayed_models.data(), epochs=epochs, verbose=0).history
    return history["attacked"].count(0.0), history


ACCURATE = "as in the second epoch"


# 3 updates an epoch.
@pytest.mark.parametrize(
    "conditions, expected",
    [
        ({"accuracy": ACCURATE}, 2),
        slow({"accuracy": ACCURATE, "epoch": 1, "update": 10}, 4),
        slow({"accuracy": ACCURATE, "epoch": 3}, 3),
        slow({"epoch": 2}, 2),
        ({"update": 6}, 2),
        slow({"update": 7}, 3),
        slow({"update": 4, "epoch": 1}, 2),
    ],
)
def test_the_start_logs_that_all_conditions_hold(conditions, expected, caplog):
    caplog.set_level("INFO")
    if "accuracy" in conditions:
        never = ca.Delayed(ca.Concurrent(), accuracy=1.0)
        seen = epochs_before(never)[1]["accuracy"]
        assert seen[0] < seen[1] <= min(seen[1:])
        conditions = {**conditions, "accuracy": seen[1] - 1e-6}
        assert not any("attack" in each.msg for each in caplog.records)
    step = ca.Delayed(ca.Concurrent(), **conditions)
    before, history = epochs_before(step)
    assert before == expected
    assert len(history["adversarial_accuracy"]) == 5 - expected
    messages = [each.getMessage() for each in caplog.records]
    (message,) = (each for each in messages if "attack starts" in each)
    assert re.search(
        f"after {expected} epochs and {3 * expected} updates"
        + (", at accuracy 0" if "accuracy" in conditions else r"\.$"),
        message,
    )


def test_fits_of_one_epoch_equal_one_fit():
    data = delayed_models.data()
    one, several = (
        build(ca.Delayed(ca.Concurrent(), accuracy=0.01, epoch=2))
        for _ in range(2)
    )
    expected = one.fit(data, epochs=4, verbose=0).history
    histories = [
        several.fit(data, initial_epoch=i, epochs=i + 1, verbose=0).history
        for i in range(4)
    ]
    networks.assert_same_weights(one, several)
    for key, values in expected.items():
        joined = [each for one in histories for each in one.get(key, [])]
        assert joined == values, key
    assert expected["attacked"] == [0.0, 0.0, 1.0, 1.0]
    # Another compile starts plainly.
    one.compile("sgd", networks.LOSS)
    assert one.fit(data, verbose=0).history["attacked"] == [0.0]


class Interrupt(tf.keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        raise KeyboardInterrupt


def test_an_interrupted_epoch_does_not_count(monkeypatch):
    decisions = delayed_models.Decisions(monkeypatch)
    model = build(
        ca.Delayed(ca.Concurrent(), accuracy=0.01, epoch=2),
        weighted_metrics=["accuracy"],
        metrics=[],
    )
    data = delayed_models.data(True)
    model.fit(data, verbose=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(data, callbacks=[Interrupt()], verbose=0)
    history = model.fit(data, verbose=0).history
    assert history["attacked"] == [0.0]
    np.testing.assert_allclose(decisions.seen[1:], history["accuracy"], 1e-6)
    assert model.fit(data, verbose=0).history["attacked"] == [1.0]


def test_a_list_of_callbacks_ends_each_epoch_once():
    data = delayed_models.data()
    model = build(ca.Delayed(ca.Concurrent(), epoch=2))
    callbacks = tf.keras.callbacks.CallbackList(add_history=True, model=model)
    for expected in (0.0, 0.0, 1.0):
        history = model.fit(data, callbacks=callbacks, verbose=0).history
        assert history["attacked"][-1] == expected
    # The epochs of another model are its own.
    other = build(ca.Delayed(ca.Concurrent(), epoch=1))
    other.fit(data, callbacks=callbacks, verbose=0)
    assert other.stale_network is not None


# An epoch of 3 batches ends in the middle of an update of 2.
def test_micro_batches_start_after_a_complete_update():
    step = ca.Delayed(ca.Concurrent(microbatches=2), epoch=1)
    model = build(step)
    data = delayed_models.data()
    history = model.fit(data, epochs=3, verbose=0).history
    assert history["attacked"] == [0.0, 0.0, 1.0]
    assert int(model.optimizer.iterations) == 4
    plain = build(ca.Plain(microbatches=2))
    expected = plain.fit(data, epochs=2, verbose=0).history
    assert history["accuracy"][:2] == expected["accuracy"]


def not_finite(data, batch):
    """The data with labels of one batch that make the loss infinite."""

    def spoil(index, pair):
        images, labels = pair
        labels = tf.cast(tf.one_hot(labels, 3), tf.float32)
        return images, tf.where(index == batch, np.inf, labels)

    return data.enumerate().map(spoil)


@pytest.mark.parametrize("replicas", [1, slow(2)])
def test_skipped_steps_are_counted_over_the_start(replicas):
    model = build(
        ca.Delayed(ca.Concurrent(), epoch=1),
        loss=tf.keras.losses.CategoricalCrossentropy(from_logits=True),
        replicas=replicas,
    )
    data = not_finite(delayed_models.data(), 1)
    history = model.fit(data, epochs=2, verbose=0).history
    assert history["attacked"] == [0.0, 1.0]
    # The second epoch trains on the batches one step later.
    assert history["skipped_steps"] == [1, 2]
    assert (model.skipped_steps, model.first_skipped_step) == (2, 1)


@pytest.mark.parametrize(
    "batch, replicas", [slow(0, 1), (1, 1), slow(0, 2), slow(1, 2)]
)
def test_images_out_of_range_before_the_start(batch, replicas):
    step = ca.Delayed(ca.Concurrent(), epoch=1)
    model = build(step, replicas=replicas)
    data = delayed_models.data().enumerate()
    data = data.map(
        lambda i, pair: (tf.where(i == batch, 2.0, 1.0) * pair[0], pair[1])
    )
    with pytest.raises(ValueError, match="training.*value_range"):
        # The monitor reads the counts after the first batch and the epoch, at
        # whose end the attack starts.
        model.fit(data, epochs=3, verbose=0)
    assert model.optimizer.iterations == (3 if batch else 1)
    assert (model.stale_network is not None) == bool(batch)
    # The count starts again.
    history = model.fit(delayed_models.data(), verbose=0).history
    assert history["attacked"] == [float(bool(batch))]


def test_integer_images_are_refused_before_the_start():
    model = build(ca.Delayed(ca.Concurrent(), epoch=1))
    images, labels = models.arrays()
    with pytest.raises(ValueError, match="float"):
        model.fit(np.uint8(images), labels, verbose=0)
