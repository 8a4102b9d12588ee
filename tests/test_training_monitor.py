"""Training stops or warns if data, gradients or the loss are invalid."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks


def _fit(rate=0.1, weights=None, batches=6, network=None, **kwargs):
    model = ca.ConAdvModel(network or networks.small(), ca.FGSM(0.1))
    model.compile(tf.keras.optimizers.SGD(rate), networks.LOSS)
    data = networks.dataset(networks.batches(batches))
    if weights is not None:
        data = data.map(
            lambda x, y: (x, y, tf.fill(tf.shape(y), float(weights)))
        )
    return model.fit(data, verbose=0, **kwargs)


def test_nan_from_the_first_step_on():
    monitor = ca.TrainingMonitor(max_skipped_steps=3, check_every=1)
    with pytest.raises(
        FloatingPointError,
        match="4 steps.*first at step 0.*max_skipped_steps=3.*NaN in labels",
    ):
        _fit(weights=np.nan, callbacks=[monitor])


# This network overflows when its weights have grown.
def test_a_rate_that_is_too_high():
    inputs = tf.keras.Input((6, 6, 1))
    x = tf.keras.layers.Dense(3)(tf.keras.layers.Flatten()(inputs))
    network = tf.keras.Model(inputs, x * tf.exp(tf.abs(x)))
    monitor = ca.TrainingMonitor(max_skipped_steps=0, check_every=1)
    with pytest.raises(
        FloatingPointError, match=r"rate is too high.*now 1e\+04; largest wei"
    ):
        _fit(rate=1e4, network=network, callbacks=monitor)


def test_fit_adds_the_callback_once():
    for callbacks in (None, tf.keras.callbacks.CallbackList()):
        with pytest.raises(FloatingPointError, match="11 steps"):
            _fit(weights=np.nan, batches=11, callbacks=callbacks)


# The scale doubles after every second step until a gradient overflows.
def test_overflows_of_a_growing_loss_scale_are_allowed():
    optimizer = tf.keras.mixed_precision.LossScaleOptimizer(
        tf.keras.optimizers.SGD(0.0),
        initial_scale=2.0**115,
        dynamic_growth_steps=2,
    )
    model = ca.ConAdvModel(networks.small(), attack=None)
    model.compile(optimizer, networks.LOSS, loss_weights=[2.0**10])
    monitor = ca.TrainingMonitor(max_skipped_steps=3, check_every=1)
    data = networks.dataset(networks.batches(30))
    model.fit(data, callbacks=[monitor], verbose=0)
    assert 3 < model.skipped_steps <= 3 + 30 // 2


# A run that continues with a later epoch checks its first batch too.
@pytest.mark.parametrize("epoch", [0, 5])
def test_the_first_batch_is_checked(epoch):
    model = ca.ConAdvModel(networks.small(), ca.FGSM(0.1))
    model.compile("sgd", networks.LOSS)
    seen = []
    check = model.check_value_range
    model.check_value_range = lambda *args: (
        seen.append(int(model.optimizer.iterations)) or check(*args)
    )
    data = networks.dataset(networks.batches(3))
    # A `CallbackList` without callbacks calls no method after a batch.
    callbacks = tf.keras.callbacks.CallbackList()
    model.fit(
        data,
        initial_epoch=epoch,
        epochs=epoch + 2,
        callbacks=callbacks,
        verbose=0,
    )
    assert seen == [1, 3, 6] and not callbacks.callbacks


def test_a_rising_loss_warns():
    model = ca.ConAdvModel(networks.small(), ca.FGSM(0.1))
    model.compile(tf.keras.optimizers.SGD(0.01), networks.LOSS)
    monitor = ca.TrainingMonitor(divergence_factor=3.0)
    monitor.set_model(model)
    monitor.on_train_begin()
    monitor.on_epoch_end(0, {"loss": 2.0})
    monitor.on_epoch_end(1, {"loss": 5.9})
    with pytest.warns(
        RuntimeWarning, match="loss of epoch 3 is 6.1.*was 2;.*rate 0.01"
    ):
        monitor.on_epoch_end(2, {"loss": 6.1})


def test_trust_ratios_and_loss_scale_are_logged():
    optimizer = tf.keras.mixed_precision.LossScaleOptimizer(
        ca.LARS(0.1, record_trust_ratios=True), initial_scale=16.0
    )
    model = ca.ConAdvModel(networks.small(), ca.FGSM(0.1))
    model.compile(optimizer, networks.LOSS)
    data = networks.dataset(networks.batches(3))
    logs = model.fit(data, epochs=2, verbose=0).history
    assert logs["skipped_steps"] == [0, 0]
    assert logs["loss_scale"] == [16.0, 16.0]
    low, middle, high = (
        logs[f"trust_ratio_{name}"][-1] for name in ("min", "median", "max")
    )
    assert 0 < low < middle < high < 1


# |w| = 5, |g| = 2: 0.001 * 5 / (2 + 0.1 * 5).
def test_recorded_trust_ratio():
    weight = tf.Variable([3.0, 4.0], name="kernel")
    optimizer = ca.LARS(1.0, weight_decay=0.1, record_trust_ratios=True)
    optimizer.build([weight, tf.Variable([1.0], name="bias")])
    optimizer.apply_gradients([(tf.constant([0.0, 2.0]), weight)])
    np.testing.assert_allclose(optimizer.trust_ratios, [0.002], rtol=1e-6)
    assert ca.LARS(1.0).trust_ratios == []


@pytest.mark.parametrize(
    "arguments",
    [{"max_skipped_steps": -1}, {"divergence_factor": 0}, {"check_every": 0}],
)
def test_arguments(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=f"{name} >= .; received {value}"):
        ca.TrainingMonitor(**arguments)
