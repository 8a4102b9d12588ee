"""`ca.Delayed` that is interrupted and resumed, before and after its start."""

import functools
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import delayed_models
from tests import networks
from tests import resumable
from tests import test_workers
from tests.marks import slow

EPOCHS = 4
STEPS = delayed_models.BATCHES
# The attack starts after the second of four epochs. The accuracy holds.
CONDITIONS = {"accuracy": 0.01, "epoch": 2}
# Position of the interruption: number of batches, or the beginning of an epoch.
BEFORE, IN_THE_EPOCH, AFTER = 2, 4, 7
AT_THE_START = "epoch 2"
POSITIONS = (BEFORE, IN_THE_EPOCH, AT_THE_START, AFTER)


class Stop(tf.keras.callbacks.Callback):
    def __init__(self, position):
        super().__init__()
        self.position, self.batches = position, 0

    def on_epoch_begin(self, epoch, logs=None):
        if self.position == f"epoch {epoch}":
            raise resumable.Stop

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        if self.position == self.batches:
            raise resumable.Stop


def data(checkpoints=None):
    dataset = delayed_models.data().unbatch()
    dataset = dataset.shuffle(STEPS * 8, seed=1).batch(8, drop_remainder=True)
    epoch, batch = (0, 0) if checkpoints is None else checkpoints.position
    return ca.data.resume_at(dataset, epoch, batch, STEPS)


def train(step, position=None, folder=None, restore=False, **arguments):
    """Returns (model, history of the finished epochs)."""
    step = ca.Delayed(step, **CONDITIONS)
    model = delayed_models.build(step, **arguments)
    checkpoints, callbacks = None, [Stop(position)]
    if folder is not None:
        checkpoints = ca.Checkpoints(folder, every_steps=1, restore=restore)
        callbacks.insert(0, checkpoints)
    try:
        model.fit(
            data(checkpoints),
            epochs=EPOCHS,
            steps_per_epoch=STEPS,
            callbacks=callbacks,
            verbose=0,
        )
    except resumable.Stop:
        if checkpoints is not None:
            checkpoints.wait()
    return model, model.history.history


@functools.cache
def undisturbed(step, replicas):
    model, history = train(step, replicas=replicas)
    assert history["attacked"] == [0.0, 0.0, 1.0, 1.0]
    return model, history


@pytest.mark.parametrize(
    "step, replicas, position",
    [
        *(
            slow(ca.Concurrent(staleness=3), 1, position)
            for position in (BEFORE, AFTER)
        ),
        (ca.Concurrent(staleness=3), 1, IN_THE_EPOCH),
        (ca.Concurrent(staleness=3), 1, AT_THE_START),
        *(slow(ca.SharedPass(), 2, position) for position in POSITIONS),
        *(
            slow(ca.Concurrent(microbatches=2), 1, position)
            for position in POSITIONS
        ),
    ],
)
def test_resumed_equals_undisturbed(
    step, replicas, position, tmp_path, monkeypatch
):
    expected = undisturbed(step, replicas)
    decisions = delayed_models.Decisions(monkeypatch)
    model, _ = train(step, position, tmp_path, replicas=replicas)
    started = position in (AT_THE_START, AFTER)
    state = model.runner.saved_variables()
    assert state["delayed/started"].numpy() == started
    decided = len(decisions.seen)

    resumed = train(step, None, tmp_path, restore=True, replicas=replicas)
    # The decisions use the accuracy of whole epochs.
    assert len(decisions.seen) == 2
    np.testing.assert_allclose(
        decisions.seen[decided:], expected[1]["accuracy"][decided:2], rtol=1e-6
    )
    resumable.assert_same(expected, resumed)


# The weights of a started run differ between the branches.
@pytest.mark.slow
def test_a_checkpoint_of_an_attack_is_restored_as_it_is(tmp_path):
    step = ca.Concurrent()
    model, _ = train(step, None, tmp_path)
    restored, _ = train(step, "epoch 4", tmp_path, restore=True)
    networks.assert_same_weights(model, restored)
    weights = {each.name: each.numpy() for each in restored.network.weights}
    for name, value in weights.items():
        other = weights[name.replace("main", "auxiliary")]
        assert "main" not in name or np.any(value != other)
    # Another delay would continue another training.
    other = delayed_models.build(ca.Delayed(step, epoch=3))
    with pytest.raises(ValueError, match=r'checkpoint.*Delayed.*"epoch": 3'):
        other.fit(
            data(),
            steps_per_epoch=STEPS,
            callbacks=[ca.Checkpoints(tmp_path, restore=True)],
            verbose=0,
        )
    # Another weight of the loss is no other state.
    assert train(ca.Concurrent(weight=2.0), None, tmp_path, restore=True)


@pytest.mark.slow
@pytest.mark.parametrize("position", ["epoch 1", "epoch 3"])
def test_backup_and_restore(position, tmp_path):
    step = ca.Delayed(ca.Concurrent(), **CONDITIONS)
    expected, interrupted, resumed = (
        delayed_models.build(step) for _ in range(3)
    )
    dataset = delayed_models.data()

    def fit(model, *callbacks):
        history = model.fit(
            dataset, epochs=EPOCHS, callbacks=list(callbacks), verbose=0
        )
        return model, history.history

    backup = tf.keras.callbacks.BackupAndRestore
    with pytest.raises(resumable.Stop):
        fit(interrupted, backup(tmp_path / "backup"), Stop(position))
    resumable.assert_same(
        fit(expected), fit(resumed, backup(tmp_path / "backup"))
    )


# The accuracy of one process is above the threshold from the first epoch on,
# that of the other one never is.
@pytest.mark.slow
def test_two_processes_start_at_once(tmp_path):
    addresses = [f"127.0.0.1:{port}" for port in test_workers.free_ports(2)]
    paths = [tmp_path / name for name in ("first", "second")]
    processes = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.delayed_worker"),
                *(str(index), *addresses, str(path)),
            ],
            cwd=pathlib.Path(__file__).parents[1],
        )
        for index, path in enumerate(paths)
    ]
    try:
        assert [each.wait(240) for each in processes] == [0, 0]
    finally:
        for each in processes:
            each.kill()
    first, second = (json.loads(path.read_text()) for path in paths)
    assert first["attacked"] == second["attacked"]
    assert set(first["attacked"]) == {0.0, 1.0}
    assert first["weights"] == second["weights"]
    for (one, mean), (other, same) in zip(
        first["decisions"], second["decisions"]
    ):
        assert mean == same == pytest.approx((one + other) / 2)
        assert one < 0.7 <= other
    assert mean >= 0.7
    # Keras sums the logs of the processes, each of which has the mean.
    accuracy = first["accuracy"]
    means = [mean for _, mean in first["decisions"]]
    np.testing.assert_allclose(accuracy[: len(means)], means, rtol=1e-6)
    assert max(accuracy) <= 1 and accuracy == second["accuracy"]
