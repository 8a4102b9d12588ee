"""Drift of stale weights, where the paper's constants are known."""

import csv
import itertools

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import analysis
from conadv_tf.analysis import drift
from conadv_tf.analysis import theory
from conadv_tf.routing import batch_norm_branch
from tests import networks


class Quadratic:
    """L_i(theta, x) = 1/2 t'P t + t'B x - 1/2 x'C x + y_i d't, C > 0.

    Strongly concave in x; its best example is C^-1 B't where that is inside
    the box.
    """

    def __init__(self, seed, num_weights=5, size=4):
        rng = np.random.default_rng(seed)

        def positive(n):
            root = rng.normal(size=(n, n))
            return root @ root.T + 0.5 * np.eye(n)

        self.p, self.c = positive(num_weights), positive(size)
        self.b = rng.normal(size=(num_weights, size))
        self.d = rng.normal(size=num_weights)
        self.images = rng.normal(size=(6, size))
        self.labels = rng.normal(size=6)
        self.theta = rng.normal(size=num_weights)
        self.old = self.theta + 0.1 * rng.normal(size=num_weights)

    def best(self, theta):
        best = np.linalg.solve(self.c, self.b.T @ theta)
        return np.broadcast_to(best, self.images.shape).copy()

    def gradients(self, theta, x):
        """For each example, in theta."""
        return theta @ self.p + x @ self.b.T + np.outer(self.labels, self.d)

    def objective(self, theta):
        variable = tf.Variable(theta)

        def loss(x, labels):
            quadratic = tf.reduce_sum(
                variable * tf.linalg.matvec(self.p, variable)
            )
            count = tf.cast(tf.shape(x)[0], tf.float64)
            return (
                0.5 * count * quadratic
                + tf.reduce_sum(tf.linalg.matvec(self.b, x) * variable)
                - 0.5 * tf.reduce_sum(x * tf.linalg.matvec(self.c, x))
                + tf.reduce_sum(labels) * tf.reduce_sum(self.d * variable)
            )

        return analysis.Objective(loss, [variable])

    def measure(self, fresh, outdated, box=None):
        result = analysis.measure_drift(
            self.objective(self.theta),
            self.objective(self.old),
            tf.constant(self.images),
            tf.constant(self.labels),
            tf.constant(fresh),
            tf.constant(outdated),
            box,
        )
        return {name: float(value) for name, value in result.items()}


def quotient(difference, distance):
    return np.linalg.norm(difference) / np.linalg.norm(distance)


@pytest.mark.parametrize("seed", range(4))
def test_quadratic_problem_in_closed_form(seed):
    q = Quadratic(seed)
    fresh, outdated = q.best(q.theta), q.best(q.old)
    found = q.measure(fresh, outdated, (fresh * 0 - 99.0, fresh * 0 + 99.0))
    change = q.theta - q.old
    size = np.linalg.norm(change)
    moved = np.linalg.norm(np.linalg.solve(q.c, q.b.T @ change))
    spectrum = np.linalg.eigvalsh(q.c)
    clean = q.gradients(q.theta, q.images)
    g = (clean + q.gradients(q.theta, fresh)) / 2
    g_hat = (clean + q.gradients(q.theta, outdated)) / 2
    losses = [
        float(q.objective(q.theta).loss(x, q.labels)) / 6
        for x in (q.images, fresh, outdated)
    ]
    expected = {
        "weight_drift": size,
        "relative_weight_drift": size / np.linalg.norm(q.theta),
        "example_drift": moved,
        "mean_example_drift": moved,
        "sign_agreement": np.mean(
            np.sign(fresh - q.images) == np.sign(outdated - q.images)
        ),
        "loss_gap": losses[1] - losses[2],
        "L_xtheta": quotient(q.b.T @ change, change),
        "L_thetatheta": quotient(q.p @ change, change),
        "L_thetax": max(
            quotient(q.b @ (x - outdated[0]), x - outdated[0])
            for x in (*q.images, fresh[0])
        ),
        "L_xx": spectrum[-1],
        "mu": spectrum[0],
        "lambda_": 0.0,
        "L_D": (losses[0] + losses[1]) / 2,
        "M": np.linalg.norm(g_hat.mean(0)),
        "sigma": np.sqrt(g.var(axis=0, ddof=1).sum() / 6),
        "gradient_norm": np.linalg.norm(g.mean(0)),
        "gradient_error": np.linalg.norm(g.mean(0) - g_hat.mean(0)),
    }
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6, abs=1e-9), name
    assert found["loss_gap"] > 0  # The best example is the worst one.

    # Lemma 1, and Lemma 3 as (31) has it.
    bound = theory.lemma_1_bound(
        found["L_xtheta"], found["mu"], found["weight_drift"]
    )
    assert found["example_drift"] <= bound
    assert bound <= np.linalg.norm(q.b, 2) / spectrum[0] * size * (1 + 1e-9)
    assert found["gradient_error"] <= found["L_thetax"] / 2 * bound


# Where both blocks are multiples of the identity the bound is what happens.
def test_lemma_1_is_tight_for_an_isotropic_problem():
    q = Quadratic(0, num_weights=4)
    q.b, q.c = 3.0 * np.eye(4), 0.5 * np.eye(4)
    found = q.measure(q.best(q.theta), q.best(q.old))
    bound = theory.lemma_1_bound(
        found["L_xtheta"], found["mu"], found["weight_drift"]
    )
    assert found["example_drift"] == pytest.approx(bound)
    assert np.isnan(found["lambda_"])


# With a diagonal C the best example of a box is the clipped one.
@pytest.mark.parametrize("seed", range(3))
def test_bounds_hold_at_the_walls_of_the_box(seed):
    q = Quadratic(seed)
    q.c = np.diag(np.diag(q.c))
    box = q.images - 0.2, q.images + 0.2
    fresh, outdated = (np.clip(q.best(t), *box) for t in (q.theta, q.old))
    assert np.any(fresh == box[0]) and np.any(fresh == box[1])
    found = q.measure(fresh, outdated, box)
    assert found["lambda_"] == pytest.approx(0, abs=1e-9)
    assert found["example_drift"] <= theory.lemma_1_bound(
        found["L_xtheta"], found["mu"], found["weight_drift"]
    )

    # Approximate ones: one signed step from the image, as an attack makes.
    approximate = [
        np.clip(x0 + 0.2 * np.sign(q.b.T @ t - x0 @ q.c), *box)
        for t, x0 in ((q.theta, q.images), (q.old, q.images))
    ]
    found = q.measure(*approximate, box)
    change = q.theta - q.old
    assert found["L_xtheta"] == pytest.approx(quotient(q.b.T @ change, change))
    slope = q.b.T @ q.old - approximate[1] @ q.c
    gaps = [
        max(
            (corner - example) @ direction
            for corner in itertools.product(*zip(low, high))
        )
        for example, direction, low, high in zip(approximate[1], slope, *box)
    ]
    assert found["lambda_"] == pytest.approx(max(gaps))
    distance = np.linalg.norm(approximate[1] - outdated, axis=1).max()
    assert distance <= theory.approximation_bound(found["lambda_"], found["mu"])


def test_convex_loss_has_no_bound():
    q = Quadratic(0)
    q.c = -q.c
    found = q.measure(q.images + 0.1, q.images - 0.1)
    assert found["mu"] < 0
    assert found["mu"] == pytest.approx(np.linalg.eigvalsh(q.c)[0])
    assert found["sign_agreement"] == 0
    assert theory.lemma_1_bound(1.0, found["mu"], 1.0) is None


# --- The callback -------------------------------------------------------------


def concurrent(staleness=1, network=None):
    network = network or networks.convolutional()
    model = ca.ConAdvModel(network, ca.PGD(epsilon=0.1), staleness)
    model.compile(ca.LARS(0.5), networks.LOSS)
    return model


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
    "staleness, build", [(1, networks.linear), (3, networks.convolutional)]
)
def test_callback_measures_the_weights_of_tau_steps_ago(
    staleness, build, tmp_path
):
    network = build(shape=(6, 6, 1))
    images, labels = networks.batches(1, size=4, seed=9)[0]
    watch = analysis.StalenessDrift(
        images,
        labels,
        every_steps=1,
        csv_path=tmp_path / "drift.csv",
        log_dir=str(tmp_path / "board"),
    )
    model, snapshots = concurrent(staleness, network), Snapshots()
    model.fit(
        networks.dataset(networks.batches(5)),
        callbacks=[snapshots, watch],
        verbose=0,
    )
    assert [row["step"] for row in watch.history] == [1, 2, 3, 4, 5]
    for t, row in enumerate(watch.history, start=1):
        now, old = (
            snapshots.weights[t],
            snapshots.weights[max(0, t - staleness)],
        )
        norm = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(now, old)))
        assert row["weight_drift"] == pytest.approx(norm, rel=1e-4)

    # The last row again, with two networks that have these weights.
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
    # Cross-entropy on a ReLU network: convex in the images.
    assert row["mu"] <= 1e-5 and row["lemma_1_bound"] is None
    theorem = watch.theorem_1()
    assert theorem["bound"] is None and theorem["measured"] > 0

    with open(tmp_path / "drift.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 and rows[-1]["lemma_1_bound"] == ""
    assert float(rows[-1]["mu"]) == row["mu"]
    assert list((tmp_path / "board").iterdir())


def test_callback_at_epochs_changes_nothing():
    data = networks.dataset(networks.batches(3))
    images, labels = networks.batches(1, size=4)[0]
    start = networks.convolutional().get_weights()
    trained = []
    watch = analysis.StalenessDrift(images, labels)
    for callbacks in ([watch], []):
        model = concurrent()
        model.network.set_weights(
            ca.split_batch_norm(_with_weights(start)).get_weights()
        )
        model.fit(data, epochs=2, callbacks=callbacks, verbose=0)
        trained.append(networks.weights(model.network))
    np.testing.assert_array_equal(*trained)
    assert [(r["epoch"], r["step"]) for r in watch.history] == [(0, 3), (1, 6)]


def _with_weights(values):
    network = networks.convolutional()
    network.set_weights(values)
    return network


def test_callback_under_replicas_and_with_an_l2_ball():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        attack = ca.PGD(epsilon=0.5, norm="l2")
        model = ca.ConAdvModel(networks.linear(), attack)
        model.compile("sgd", networks.LOSS, steps_per_execution=3)
    shape = (2, 2, 1)
    watch = analysis.StalenessDrift(
        *networks.batches(1, size=4, shape=shape)[0], every_steps=4
    )
    data = networks.dataset(networks.batches(9, shape=shape))
    model.fit(data, callbacks=[watch], verbose=0)
    # Executions end at 3, 6 and 9; the last two pass the steps 4 and 8.
    assert [row["step"] for row in watch.history] == [6, 9]
    for row in watch.history:
        assert row["weight_drift"] > 0 and np.isfinite(row["L_thetax"])
        assert np.isnan(row["lambda_"])

    # The next fit counts on: from 9 to 12 no multiple of 8 is passed.
    watch.every_steps = 8
    model.fit(data.take(3), callbacks=[watch], verbose=0)
    assert watch.history == []


@pytest.mark.parametrize("arguments", [{"attack": None}, {"staleness": 0}])
def test_models_without_stale_weights_are_refused(arguments):
    settings = {"attack": ca.PGD(epsilon=0.1), "staleness": 1, **arguments}
    model = ca.ConAdvModel(networks.convolutional(), **settings)
    model.compile("sgd", networks.LOSS)
    assert model.stale_network is None and model.stale_weights is None
    images, labels = networks.batches(1)[0]
    with pytest.raises(ValueError, match="no stale weights"):
        model.fit(
            networks.dataset(networks.batches(1)),
            callbacks=[analysis.StalenessDrift(images, labels)],
            verbose=0,
        )


def test_steps_between_measurements_are_positive():
    with pytest.raises(ValueError, match="received 0"):
        analysis.StalenessDrift(*networks.batches(1)[0], every_steps=0)
