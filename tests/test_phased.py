"""Phased placement against the same schedule written plainly."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests import networks
from tests import phased_models
from tests.plain_schedule import Pairs
from tests.plain_schedule import Thirds


def check_against_plain(replicas, steps=30, weight=1.0, schedule=Thirds):
    """Weights and statistics of every replica at every step, and the logs."""
    network = networks.small()
    batches = networks.batches(steps, size=replicas * phased_models.SHARE)
    arguments = phased_models.PAIRS if schedule is Pairs else {}
    model = phased_models.build(
        replicas, network, adversarial_weight=weight, **arguments
    )
    watch = phased_models.Watch()
    history = model.fit(
        networks.dataset(batches), callbacks=[watch], verbose=0
    ).history
    plain = schedule(
        network,
        model.attack,
        phased_models.sgd(),
        replicas,
        phased_models.SHARE,
        phased_models.SEED,
        weight,
    )
    for age, (images, labels) in enumerate(batches):
        plain.step(age, images, labels)
        for own, found in zip(plain.networks, watch.seen[age]):
            for wanted, value in zip(own.weights, found):
                np.testing.assert_allclose(
                    value, wanted.numpy(), 1e-4, 1e-5, f"{age} {wanted.name}"
                )
    assert model.optimizer.iterations.numpy() == steps - plain.first_update
    losses = {part: np.mean(each) for part, each in plain.losses.items()}
    auxiliary = np.mean([losses[part] for part in plain.auxiliary])
    for name, wanted in {
        **{f"{part}_loss": loss for part, loss in losses.items()},
        "loss": (losses["clean"] + weight * auxiliary) / (1 + weight),
        "accuracy": np.mean(plain.correct["clean"]),
        "adversarial_accuracy": np.mean(plain.correct["adversarial"]),
    }.items():
        np.testing.assert_allclose(history[name], [wanted], 1e-4, 1e-5, name)
    # Else one could stand for the other.
    assert history["accuracy"] != history["adversarial_accuracy"]
    assert len(watch.seen) == steps
    assert not np.allclose(watch.seen[-1][0][0], watch.seen[0][0][0])


@pytest.mark.parametrize(
    "schedule, replicas, weight, steps",
    [
        (Thirds, 3, 1.0, 30),
        (Pairs, 2, 1.0, 30),
        pytest.param(Pairs, 4, 0.5, 30, marks=pytest.mark.slow),
        pytest.param(Thirds, 3, 0.5, 12, marks=pytest.mark.slow),
    ],
)
def test_replicas_equal_the_plain_schedule(schedule, replicas, weight, steps):
    check_against_plain(replicas, steps, weight, schedule)


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
    steps, size = 17, 3 * phased_models.SHARE
    count = steps * size
    inputs = tf.keras.Input((2 * count,))
    layer = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = phased_models.build(
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
        -model.network.get_weights()[0]
        .reshape([2, steps, 3, phased_models.SHARE])
        .round(4)
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
