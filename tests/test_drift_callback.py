"""The callback that measures drift during training."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import analysis
from conadv_tf import csv_file
from conadv_tf.analysis import drift
from conadv_tf.batch_norm.routing import batch_norm_branch
from tests import models
from tests import networks
from tests.marks import slow


class Snapshots(tf.keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.weights = []

    def _take(self):
        self.weights.append(
            [w.numpy() for w in self.model.network.trainable_variables]
        )

    def on_train_begin(self, logs=None):
        self._take()

    def on_train_batch_end(self, batch, logs=None):
        self._take()


@pytest.mark.parametrize(
    "step, build",
    [
        slow(ca.Concurrent(), networks.linear),
        (ca.Concurrent(staleness=3), networks.convolutional),
        slow(ca.SharedPass(), networks.linear),
    ],
)
def test_callback_measures_the_weights_of_tau_steps_ago(step, build, tmp_path):
    network = build(shape=(6, 6, 1))
    images, labels = networks.batches(1, size=4, seed=9)[0]
    watch = analysis.StalenessDrift(
        images,
        labels,
        every_steps=1,
        csv_path=tmp_path / "drift.csv",
        log_dir=str(tmp_path / "board"),
    )
    model = models.build(step, network)
    snapshots = Snapshots()
    model.fit(
        networks.dataset(networks.batches(5)),
        callbacks=[snapshots, watch],
        verbose=0,
    )
    assert [row["step"] for row in watch.history] == [1, 2, 3, 4, 5]
    for t, row in enumerate(watch.history, start=1):
        now, old = (
            snapshots.weights[t],
            snapshots.weights[max(0, t - step.staleness)],
        )
        norm = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(now, old)))
        assert row["weight_drift"] == pytest.approx(norm, rel=1e-4)

    # Two networks with these weights must give the last row again.
    current, stale = (ca.split_batch_norm(model.network) for _ in range(2))
    for weight, value in zip(stale.trainable_variables, old):
        weight.assign(value)
    with batch_norm_branch("auxiliary"):
        examples = [
            model.attack(network, images, labels, seed=0)
            for network in (current, stale)
        ]
        objectives = [analysis.network_objective(n) for n in (current, stale)]
        box = np.maximum(images - 0.1, 0), np.minimum(images + 0.1, 1)
        expected = drift.measure_drift(
            *objectives, tf.constant(images), labels, *examples, box
        )
    for name, value in expected.items():
        np.testing.assert_allclose(
            row[name], value, rtol=2e-3, atol=1e-5, err_msg=name
        )
    # The cross-entropy of a ReLU network is convex in the images.
    assert row["mu"] <= 1e-5 and row["lemma_1_bound"] is None
    theorem = watch.theorem_1()
    assert theorem["bound"] is None and theorem["measured"] > 0

    rows = csv_file.read(tmp_path / "drift.csv")
    assert len(rows) == 5 and rows[-1]["lemma_1_bound"] == ""
    assert float(rows[-1]["mu"]) == row["mu"]
    assert list((tmp_path / "board").iterdir())


def test_continued_training_continues_the_file(tmp_path):
    images, labels = networks.batches(1, size=4)[0]
    data = networks.dataset(networks.batches(3))
    model = models.build(network=networks.linear(shape=images.shape[1:]))

    def watch(append):
        return analysis.StalenessDrift(
            images,
            labels,
            every_steps=1,
            csv_path=tmp_path / "drift.csv",
            append=append,
        )

    first, second, third = (watch(append) for append in (True, True, False))
    model.fit(data, callbacks=[first], verbose=0)
    # Like `Checkpoints`, returns to step 2, so that step 3 is repeated.
    back = tf.keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: model.optimizer.iterations.assign(2)
    )
    model.fit(data, callbacks=[second, back], verbose=0)
    assert [row["step"] for row in second.history] == [1, 2, 3, 4, 5]
    assert second.history[:2] == first.history[:2]
    assert second.history[2]["weight_drift"] != first.history[2]["weight_drift"]
    assert second.theorem_1()["measured"] > 0
    rows = csv_file.read(tmp_path / "drift.csv")
    assert [row["step"] for row in rows] == list("12345")

    model.fit(data, callbacks=[third], verbose=0)
    assert len(csv_file.read(tmp_path / "drift.csv")) == len(third.history) == 3


def test_measuring_at_epochs_does_not_change_training():
    data = networks.dataset(networks.batches(3))
    images, labels = networks.batches(1, size=4)[0]
    start = networks.small().get_weights()
    trained = []
    watch = analysis.StalenessDrift(images, labels)
    for callbacks in ([watch], []):
        model = models.build()
        model.network.set_weights(
            ca.split_batch_norm(_with_weights(start)).get_weights()
        )
        model.fit(data, epochs=2, callbacks=callbacks, verbose=0)
        trained.append(networks.weights(model.network))
    np.testing.assert_array_equal(*trained)
    assert [(r["epoch"], r["step"]) for r in watch.history] == [(0, 3), (1, 6)]


def _with_weights(values):
    network = networks.small()
    network.set_weights(values)
    return network


@pytest.mark.slow
def test_callback_under_replicas_and_with_an_l2_ball():
    model = models.build(
        network=networks.linear(),
        attack=ca.PGD(epsilon=0.5, norm="l2"),
        replicas=2,
        steps_per_execution=3,
    )
    shape = (2, 2, 1)
    watch = analysis.StalenessDrift(
        *networks.batches(1, size=4, shape=shape)[0], every_steps=4
    )
    data = networks.dataset(networks.batches(9, shape=shape))
    model.fit(data, callbacks=[watch], verbose=0)
    # Executions end at steps 3, 6 and 9; the last two pass steps 4 and 8.
    assert [row["step"] for row in watch.history] == [6, 9]
    for row in watch.history:
        assert row["weight_drift"] > 0 and np.isfinite(row["L_thetax"])
        assert np.isnan(row["lambda_"])

    # The next fit continues to count: steps 9 to 12 pass no multiple of 8.
    watch.every_steps = 8
    model.fit(data.take(3), callbacks=[watch], verbose=0)
    assert watch.history == []


@pytest.mark.parametrize("method", ["plain", "disadv"])
def test_models_without_stale_weights_are_refused(method):
    model = models.build(method)
    assert model.stale_network is None and model.stale_weights is None
    images, labels = networks.batches(1)[0]
    with pytest.raises(ValueError, match="no stale weights"):
        model.fit(
            networks.dataset(networks.batches(1)),
            callbacks=[analysis.StalenessDrift(images, labels)],
            verbose=0,
        )


def test_a_copy_is_made_before_each_step():
    model = models.build(ca.SharedPass(), steps_per_execution=2)
    watch = analysis.StalenessDrift(*networks.batches(1)[0])
    data = networks.dataset(networks.batches(2))
    with pytest.raises(ValueError, match="steps_per_execution=1.*received 2"):
        model.fit(data, callbacks=[watch], verbose=0)


def test_theorem_1_without_measurements():
    watch = analysis.StalenessDrift(*networks.batches(1)[0])
    watch.set_model(models.build())
    with pytest.raises(ValueError, match="at least one row"):
        watch.theorem_1()


def test_steps_between_measurements_are_positive():
    with pytest.raises(ValueError, match="received 0"):
        analysis.StalenessDrift(*networks.batches(1)[0], every_steps=0)
