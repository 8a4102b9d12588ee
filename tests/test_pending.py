"""What stays pending between two calls of `fit`, and what drops it."""

import re

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import slow

STEPS = {
    "conadv": ca.Concurrent(),
    "staler": ca.Concurrent(staleness=3),
    "microbatches": ca.Concurrent(microbatches=2),
    "shared pass": ca.SharedPass(),
}


def build(step="conadv", network=None):
    network = network or networks.linear((6, 6, 1))
    optimizer = tf.keras.optimizers.SGD(0.1, momentum=0.9)
    return models.build(STEPS[step], network, optimizer=optimizer)


def data(count=3):
    return networks.dataset(networks.batches(count))


# Each call dropped its last batch; with one batch a call, nothing was attacked.
@pytest.mark.parametrize("step", STEPS)
def test_fits_of_one_epoch_equal_one_fit(step):
    network = networks.linear((6, 6, 1))
    one, several = (build(step, network) for _ in range(2))
    one.fit(data(), epochs=4, verbose=0)
    for epoch in range(4):
        several.fit(data(), initial_epoch=epoch, epochs=epoch + 1, verbose=0)
    networks.assert_same_weights(one, several)


class Interrupt(tf.keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    "step, replicas", [("microbatches", 1), slow("shared pass", 2)]
)
def test_backup_and_restore_resumes_exactly(step, replicas, tmp_path):
    network = networks.small()
    straight, interrupted, resumed = (
        models.build(STEPS[step], network, replicas=replicas) for _ in range(3)
    )
    straight.fit(data(), epochs=4, verbose=0)
    backups = [
        tf.keras.callbacks.BackupAndRestore(tmp_path / "backup")
        for _ in range(2)
    ]
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit(
            data(), epochs=4, callbacks=[backups[0], Interrupt()], verbose=0
        )
    history = resumed.fit(data(), epochs=4, callbacks=backups[1], verbose=0)
    assert history.epoch == [2, 3]
    networks.assert_same_weights(straight, resumed)
    # Other files have no pending batch.
    straight.save_weights(tmp_path / "weights")
    names = [name for name, _ in tf.train.list_variables(tmp_path / "weights")]
    assert not any("state_between_steps" in name for name in names)


def weighted(count=3):
    return data(count).map(lambda x, y: (x, y, tf.ones_like(y, tf.float32)))


def interrupt(model):
    with pytest.raises(KeyboardInterrupt):
        model.fit(data(), epochs=3, callbacks=[Interrupt()], verbose=0)


def out_of_range(model):
    images, labels = networks.batches(1)[0]
    with pytest.raises(ValueError, match="value_range"):
        model.fit(images * 2.0, labels, verbose=0)


# {what drops the pending batch: (function of a model, log message)}.
DROPS = {
    "other structure": (
        lambda model: model.fit(weighted(1), verbose=0),
        "another structure or shape",
    ),
    "set_weights": (
        lambda model: model.set_weights([2 * w for w in model.get_weights()]),
        "weights of model .* were set",
    ),
    "bias": (
        lambda model: model.network.layers[-1].bias.assign_add([1.0] * 3),
        "weights of model .* were set",
    ),
    "reset_pending": (lambda model: model.reset_pending(), None),
    "interrupted": (interrupt, None),
    "images out of range": (out_of_range, None),
}


@pytest.mark.parametrize("name", DROPS)
def test_a_pending_batch_is_dropped(name, caplog):
    network = networks.linear((6, 6, 1))
    drop, message = DROPS[name]
    model = models.build(
        "conadv", network, optimizer=tf.keras.optimizers.SGD(0.0)
    )
    model.fit(data(), verbose=0)
    assert model.runner.has_pending()
    drop(model)
    if name != "other structure":  # Its own batch is pending now.
        # The next step trains on its own batch, with a zero perturbation.
        images, labels = networks.batches(1)[0]
        expected = float(networks.LOSS(labels, model(images)))
        logs = model.fit(data(1), verbose=0).history
        np.testing.assert_allclose(logs["loss"], [expected], rtol=1e-5)
    logged = [r.getMessage() for r in caplog.records if "conadv" in r.name]
    assert len(logged) == bool(message)
    assert not message or re.search(message, logged[0])


# As a loop that evaluates averaged weights between two calls of `fit`.
def test_weights_that_are_set_for_a_while_drop_nothing():
    network = networks.linear((6, 6, 1))
    straight, swapped = (build(network=network) for _ in range(2))
    for model in (straight, swapped):
        model.fit(data(), verbose=0)
    weights = swapped.get_weights()
    swapped.set_weights([0 * each for each in weights])
    swapped.set_weights(weights)
    # Has no effect without another `compile`. The log said that weights were
    # set, and the pending batch was dropped.
    swapped.network.layers[-1].trainable = False
    for model in (straight, swapped):
        model.fit(data(), verbose=0)
    networks.assert_same_weights(straight, swapped)
