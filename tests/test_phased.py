"""Phased placement against the same schedule written plainly."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.distribution import local_values
from conadv_tf.steps import Batch
from tests import networks
from tests.plain_schedule import PlainSchedule

SEED, SHARE = 7, 2


def _attack():
    # L2, because a sign turns a difference in the last bit into 2 epsilon.
    return ca.PGD(2.0, random_start=0.8, norm="l2", targeted="random")


def _network():
    """Convolution, batch norm, ReLU, pool, logits."""
    inputs = tf.keras.Input((6, 6, 1))
    x = tf.keras.layers.Conv2D(4, 3, use_bias=False)(inputs)
    x = tf.keras.layers.BatchNormalization(momentum=0.9)(x)
    x = tf.keras.layers.GlobalAveragePooling2D()(tf.keras.layers.ReLU()(x))
    return tf.keras.Model(inputs, tf.keras.layers.Dense(3)(x))


def _sgd():
    return tf.keras.optimizers.SGD(0.05, momentum=0.9)


class Watch(tf.keras.callbacks.Callback):
    """All variables of the network after each step, of each replica."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        strategy = self.model.distribute_strategy
        values = [
            local_values(strategy, each) for each in self.model.network.weights
        ]
        self.seen.append([list(replica) for replica in zip(*values)])


def _model(
    replicas, network=None, optimizer=_sgd, loss=networks.LOSS, **kwargs
):
    strategy = ca.distribution.strategy("mirrored", num_replicas=replicas)
    with strategy.scope():
        model = ca.ConAdvModel(
            network or _network(),
            kwargs.pop("attack", _attack()),
            seed=SEED,
            placement="phased",
            adversarial_weight=kwargs.pop("weight", 1.0),
        )
        model.compile(optimizer(), loss, metrics=["accuracy"], **kwargs)
    return model


def check_against_plain(replicas, steps=30, weight=1.0):
    """Weights and statistics of every replica at every step, and the logs."""
    network = _network()
    batches = networks.batches(steps, size=replicas * SHARE)
    model, watch = _model(replicas, network, weight=weight), Watch()
    history = model.fit(
        networks.dataset(batches), callbacks=[watch], verbose=0
    ).history
    plain = PlainSchedule(
        network, _attack(), _sgd(), replicas, SHARE, SEED, weight
    )
    for age, (images, labels) in enumerate(batches):
        plain.step(age, images, labels)
        for own, found in zip(plain.networks, watch.seen[age]):
            for wanted, value in zip(own.weights, found):
                np.testing.assert_allclose(
                    value, wanted.numpy(), 1e-4, 1e-5, err_msg=wanted.name
                )
    assert model.optimizer.iterations.numpy() == steps - 5
    losses = {name: np.mean(each) for name, each in plain.losses.items()}
    for name, wanted in {
        "clean_loss": losses["clean"],
        "adversarial_loss": losses["adversarial"],
        "loss": (losses["clean"] + weight * losses["adversarial"])
        / (1 + weight),
        "accuracy": np.mean(plain.correct["clean"]),
        "adversarial_accuracy": np.mean(plain.correct["adversarial"]),
    }.items():
        np.testing.assert_allclose(history[name], [wanted], 1e-4, 1e-5, name)
    # Else one could stand for the other.
    assert history["accuracy"] != history["adversarial_accuracy"]
    assert len(watch.seen) == steps
    assert not np.allclose(watch.seen[-1][0][0], watch.seen[0][0][0])


@pytest.mark.parametrize(
    "weight, steps",
    [(1.0, 30), pytest.param(0.5, 12, marks=pytest.mark.slow)],
)
def test_three_replicas_equal_the_plain_schedule(weight, steps):
    check_against_plain(3, steps, weight)


# A process of its own, because the tests' has 4 devices.
@pytest.mark.slow
def test_six_replicas_equal_the_plain_schedule():
    code = (
        "import tensorflow as tf\n"
        "tf.config.set_logical_device_configuration(\n"
        "    tf.config.list_physical_devices('CPU')[0],\n"
        "    [tf.config.LogicalDeviceConfiguration()] * 6)\n"
        "from tests import test_phased\n"
        "test_phased.check_against_plain(6)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class Shift:
    """An attack that turns image i, a one-hot row, into row n + i."""

    value_range = (0.0, 1.0)

    def __call__(self, network, images, labels, seed, loss=None, targets=None):
        return tf.roll(images, images.shape[1] // 2, axis=1)


# The loss is the mean output of one linear layer, so that its weights count:
# number i how often image i was trained on, number n + i its adversarial.
def test_every_image_counts_once():
    steps, size = 17, 3 * SHARE
    count = steps * size
    inputs = tf.keras.Input((2 * count,))
    layer = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = _model(
        3,
        tf.keras.Model(inputs, layer(inputs)),
        lambda: tf.keras.optimizers.SGD(2.0 * size),
        lambda labels, outputs: outputs[:, 0],
        attack=Shift(),
    )
    images = np.eye(count, 2 * count, dtype=np.float32)
    data = tf.data.Dataset.from_tensor_slices((images, np.zeros(count)))
    # Of unknown length: Keras calls the step once more, without data.
    data = data.batch(size, drop_remainder=True).filter(lambda x, y: True)
    model.fit(data, verbose=0)
    clean, adversarial = (
        -model.network.get_weights()[0].reshape([2, steps, 3, SHARE]).round(4)
    )
    updates = steps - 5
    assert model.optimizer.iterations.numpy() == updates
    assert clean.sum() == adversarial.sum() == updates * size
    for part in (clean, adversarial):
        # All but the first and the last steps.
        np.testing.assert_array_equal(part[3 : steps - 6], 1.0)
        assert part.max() == 1.0
    # What comes before a replica's first turn to attack is dropped.
    np.testing.assert_array_equal(
        clean[:3, :, 0], [[1, 0, 0], [1, 0, 1], [1, 1, 1]]
    )


# At zero gradients LARS decays weights, and a loss scale grows.
def test_no_update_before_all_have_data():
    model = _model(
        3,
        networks.linear((6, 6, 1)),
        lambda: tf.keras.mixed_precision.LossScaleOptimizer(
            ca.LARS(0.5, weight_decay=0.1),
            initial_scale=8.0,
            dynamic_growth_steps=3,
        ),
    )
    data = networks.dataset(networks.batches(5, size=6))
    before = networks.weights(model.network)
    model.fit(data, verbose=0)
    np.testing.assert_array_equal(networks.weights(model.network), before)
    assert model.optimizer.iterations.numpy() == model.skipped_steps == 0
    assert float(model.optimizer.loss_scale) == 8.0
    # Each `fit` begins anew.
    model.fit(data, verbose=0)
    np.testing.assert_array_equal(networks.weights(model.network), before)
    # An epoch without a loss, then one with: nothing diverges.
    model.fit(data, epochs=2, verbose=0)
    assert model.optimizer.iterations.numpy() == 5
    assert not np.allclose(networks.weights(model.network), before, 1e-4)


# A NaN on one replica, first adversarial and then clean, stops two updates.
def test_a_gradient_that_is_not_finite():
    images, labels = (
        np.concatenate(part) for part in zip(*networks.batches(15, size=6))
    )
    weights = np.ones(len(images), np.float32)
    weights[3 * 6] = np.nan  # Replica 0 works on it at ages 6, 7 and 8.
    data = tf.data.Dataset.from_tensor_slices((images, labels, weights))
    model, watch = _model(3), Watch()
    model.fit(data.batch(6, drop_remainder=True), callbacks=[watch], verbose=0)
    assert model.skipped_steps == 2 and model.first_skipped_step == 2
    assert model.optimizer.iterations.numpy() == 10
    for age in range(6, 15):
        same = all(
            np.array_equal(old, new)
            for replicas in zip(*watch.seen[age - 1 : age + 1])
            for variables in zip(*replicas)
            for old, new in [variables]
        )
        assert same == (age in (7, 8)), age
    assert np.isfinite(networks.weights(model.network)).all()


class Stop(Exception):
    """Stands for a machine that goes away."""


# Before the first update, and after it.
@pytest.mark.parametrize(
    "stop_at", [pytest.param(4, marks=pytest.mark.slow), 9]
)
def test_continued_equals_uninterrupted(stop_at, tmp_path):
    network = networks.linear((6, 6, 1))
    batches = networks.batches(13, size=6)

    def train(first, *callbacks):
        model = _model(3, network)
        data = ca.data.starting_at(networks.dataset(batches), 0, first, 13)
        model.fit(data, steps_per_epoch=13, callbacks=callbacks, verbose=0)
        return model

    def stop(batch, logs):
        if batch == stop_at - 1:
            raise Stop

    stopper = tf.keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    with pytest.raises(Stop):
        train(0, ca.Checkpoints(tmp_path, every_steps=1), stopper)
    checkpoints = ca.Checkpoints(tmp_path, every_steps=1, restore=True)
    assert checkpoints.position == (0, stop_at)
    continued, whole = train(stop_at, checkpoints), train(0)
    np.testing.assert_array_equal(
        networks.weights(continued.network), networks.weights(whole.network)
    )
    assert continued.history.history == whole.history.history


@pytest.mark.slow
def test_several_steps_in_one_call():
    data = networks.dataset(networks.batches(12, size=6))
    network = _network()
    once = _model(3, network)
    several = _model(3, network, steps_per_execution=4)
    for model in (once, several):
        model.fit(data, verbose=0)
    np.testing.assert_allclose(
        networks.weights(several.network),
        networks.weights(once.network),
        1e-5,
        1e-6,
    )
    images, labels = networks.batches(1, size=6)[0]
    assert np.isfinite(once.evaluate(images, labels, verbose=0)).all()


# A single replica takes turns with itself: nothing to train with, but all
# there is for XLA to compile.
def test_xla_compiles_the_step():
    network, results = _network(), []
    batches = networks.batches(9, size=SHARE)
    for jit_compile in (False, True):
        model = ca.ConAdvModel(network, _attack(), placement="phased")
        model.compile(_sgd(), networks.LOSS, jit_compile=jit_compile)
        specs = [
            tf.TensorSpec(array.shape, array.dtype) for array in batches[0]
        ]
        model.step.prepare(tuple(specs), jit_compile)
        model.optimizer.build(model.trainable_variables)
        step = tf.function(
            lambda *batch, model=model: model.train_step(batch),
            jit_compile=jit_compile,
            input_signature=specs,
        )
        logs = [step(*batch) for batch in batches][-1]
        results.append(np.append(networks.weights(model.network), logs["loss"]))
    np.testing.assert_allclose(*results, 1e-4, 1e-5)


def test_the_attack_writes_nothing():
    model = ca.ConAdvModel(_network(), _attack())
    model.compile(_sgd(), networks.LOSS)
    before = networks.weights(model.network)
    images, labels = map(tf.constant, networks.batches(1)[0])
    crafted = model.step.attack.craft(
        model.network, Batch(images, labels), [SEED, 0]
    )
    np.testing.assert_array_equal(networks.weights(model.network), before)
    assert not np.allclose(crafted, images)
