"""Drift of stale weights in problems whose constants are known."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from conadv_tf import analysis
from conadv_tf.analysis import theory


class Quadratic:
    """L_i(theta, x) = 1/2 t'P t + t'B x - 1/2 x'C x + y_i d't, C > 0.

    It is strongly concave in x. The best example is C^-1 B't if that lies
    inside the box.
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
        """The gradient in theta of each example."""
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

    def measure(self, fresh, stale, box=None):
        objectives = [self.objective(theta) for theta in (self.theta, self.old)]
        result = analysis.measure_drift(
            *objectives, self.images, self.labels, fresh, stale, box
        )
        return {name: float(value) for name, value in result.items()}


def quotient(difference, distance):
    return np.linalg.norm(difference) / np.linalg.norm(distance)


def lemma_1_bound(found):
    return theory.lemma_1_bound(
        found["L_xtheta"], found["mu"], found["weight_drift"]
    )


@pytest.mark.parametrize("seed", range(4))
def test_quadratic_problem_in_closed_form(seed):
    q = Quadratic(seed)
    fresh, stale = q.best(q.theta), q.best(q.old)
    found = q.measure(fresh, stale, (fresh * 0 - 99.0, fresh * 0 + 99.0))
    change = q.theta - q.old
    size = np.linalg.norm(change)
    moved = np.linalg.norm(np.linalg.solve(q.c, q.b.T @ change))
    spectrum = np.linalg.eigvalsh(q.c)
    clean = q.gradients(q.theta, q.images)
    g = (clean + q.gradients(q.theta, fresh)) / 2
    g_hat = (clean + q.gradients(q.theta, stale)) / 2
    losses = [
        float(q.objective(q.theta).loss(x, q.labels)) / 6
        for x in (q.images, fresh, stale)
    ]
    expected = {
        "weight_drift": size,
        "relative_weight_drift": size / np.linalg.norm(q.theta),
        "example_drift": moved,
        "mean_example_drift": moved,
        "sign_agreement": np.mean(
            np.sign(fresh - q.images) == np.sign(stale - q.images)
        ),
        "loss_gap": losses[1] - losses[2],
        "L_xtheta": quotient(q.b.T @ change, change),
        "L_thetatheta": quotient(q.p @ change, change),
        "L_thetax": max(
            quotient(q.b @ (x - stale[0]), x - stale[0])
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
    assert found["loss_gap"] > 0  # Stale examples have a lower loss.

    # Lemma 1, and Lemma 3 in the form of (31).
    bound = lemma_1_bound(found)
    assert found["example_drift"] <= bound
    assert bound <= np.linalg.norm(q.b, 2) / spectrum[0] * size * (1 + 1e-9)
    assert found["gradient_error"] <= found["L_thetax"] / 2 * bound


# If both blocks are multiples of the identity, the bound is reached.
def test_lemma_1_is_tight_for_an_isotropic_problem():
    q = Quadratic(0, num_weights=4)
    q.b, q.c = 3.0 * np.eye(4), 0.5 * np.eye(4)
    found = q.measure(q.best(q.theta), q.best(q.old))
    assert found["example_drift"] == pytest.approx(lemma_1_bound(found))
    assert np.isnan(found["lambda_"])


# With a diagonal C the best example in a box is the clipped one.
@pytest.mark.parametrize("seed", range(3))
def test_bounds_hold_at_the_borders_of_the_box(seed):
    q = Quadratic(seed)
    q.c = np.diag(np.diag(q.c))
    box = q.images - 0.2, q.images + 0.2
    fresh, stale = (np.clip(q.best(t), *box) for t in (q.theta, q.old))
    assert np.any(fresh == box[0]) and np.any(fresh == box[1])
    found = q.measure(fresh, stale, box)
    assert found["lambda_"] == pytest.approx(0, abs=1e-9)
    assert found["example_drift"] <= lemma_1_bound(found)

    # Approximate examples: one signed step from the image, like an attack.
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
    distance = np.linalg.norm(approximate[1] - stale, axis=1).max()
    assert distance <= theory.approximation_bound(found["lambda_"], found["mu"])


def test_convex_loss_has_no_bound():
    q = Quadratic(0)
    q.c = -q.c
    found = q.measure(q.images + 0.1, q.images - 0.1)
    assert found["mu"] < 0
    assert found["mu"] == pytest.approx(np.linalg.eigvalsh(q.c)[0])
    assert found["sign_agreement"] == 0
    assert theory.lemma_1_bound(1.0, found["mu"], 1.0) is None
