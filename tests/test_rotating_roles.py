"""Rotating roles against the same schedule written plainly."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests import networks
from tests import rotating_roles_models
from tests.rotating_roles_oracle import FIRST_UPDATE
from tests.rotating_roles_oracle import PlainSchedule


def check_against_plain(replicas, steps=30, weight=1.0):
    """Weights and statistics of every replica at every step, and the logs."""
    network = networks.small()
    size = replicas * rotating_roles_models.SHARE
    batches = networks.batches(steps, size=size)
    model = rotating_roles_models.build(replicas, network, weight=weight)
    watch = rotating_roles_models.Watch()
    history = model.fit(
        networks.dataset(batches), callbacks=[watch], verbose=0
    ).history
    plain = PlainSchedule(
        network,
        model.attack,
        rotating_roles_models.sgd(),
        replicas,
        rotating_roles_models.SHARE,
        rotating_roles_models.SEED,
        weight,
    )
    for step, (images, labels) in enumerate(batches):
        plain.step(step, images, labels)
        for own, found in zip(plain.networks, watch.seen[step]):
            for wanted, value in zip(own.weights, found):
                np.testing.assert_allclose(
                    value, wanted.numpy(), 1e-4, 1e-5, f"{step} {wanted.name}"
                )
    assert model.optimizer.iterations.numpy() == steps - FIRST_UPDATE
    losses = {name: np.mean(each) for name, each in plain.losses.items()}
    total = losses["clean"] + weight * losses["adversarial"]
    for name, wanted in {
        **{f"{name}_loss": loss for name, loss in losses.items()},
        "loss": total / (1 + weight),
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
def test_replicas_equal_the_plain_schedule(weight, steps):
    check_against_plain(3, steps, weight)


# A separate process, because the process of the tests has 4 devices.
@pytest.mark.slow
def test_six_replicas_equal_the_plain_schedule():
    code = (
        "import tensorflow as tf\n"
        "tf.config.set_logical_device_configuration(\n"
        "    tf.config.list_physical_devices('CPU')[0],\n"
        "    [tf.config.LogicalDeviceConfiguration()] * 6)\n"
        "from tests import test_rotating_roles\n"
        "test_rotating_roles.check_against_plain(6)\n"
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
    steps, size = 17, 3 * rotating_roles_models.SHARE
    count = steps * size
    inputs = tf.keras.Input((2 * count,))
    layer = tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
    model = rotating_roles_models.build(
        3,
        tf.keras.Model(inputs, layer(inputs)),
        optimizer=lambda: tf.keras.optimizers.SGD(2.0 * size),
        loss=lambda labels, outputs: outputs[:, 0],
        attack=Shift(),
    )
    images = np.eye(count, 2 * count, dtype=np.float32)
    data = tf.data.Dataset.from_tensor_slices((images, np.zeros(count)))
    # Its length is unknown, so Keras calls the step once more without data.
    data = data.batch(size, drop_remainder=True).filter(lambda x, y: True)
    model.fit(data, verbose=0)
    clean, adversarial = (
        -model.network.get_weights()[0]
        .reshape([2, steps, 3, rotating_roles_models.SHARE])
        .round(4)
    )
    updates = steps - 5
    assert model.optimizer.iterations.numpy() == updates
    assert clean.sum() == adversarial.sum() == updates * size
    for part in (clean, adversarial):
        # All but the first and the last steps.
        np.testing.assert_array_equal(part[3 : steps - 6], 1.0)
        assert part.max() == 1.0
    # What comes before a replica's first attack is dropped.
    np.testing.assert_array_equal(
        clean[:3, :, 0], [[1, 0, 0], [1, 0, 1], [1, 1, 1]]
    )
