"""The formulas of Lemma 1 and Theorem 1, and the theorem for SGD."""

import math

import numpy as np
import pytest

from conadv_tf.analysis import theory

CONSTANTS = {
    "L_thetatheta": 2.0,
    "L_thetax": 3.0,
    "L_xtheta": 4.0,
    "mu": 0.5,
    "lambda_": 0.02,
    "M": 5.0,
    "sigma": 0.7,
    "delta": 1.1,
    "staleness": 1,
    "num_steps": 100,
}
L = 2.0 + 4.0 * 3.0 / (2 * 0.5)


def test_formulas_at_given_constants():
    assert theory.lemma_1_bound(4.0, 0.5, 0.1) == pytest.approx(0.8)
    assert theory.approximation_bound(0.02, 0.5) == pytest.approx(0.2)
    assert theory.smoothness(2.0, 3.0, 4.0, 0.5) == pytest.approx(L)
    printed = 2 * 0.7 * math.sqrt(L * 1.1 / 100)
    printed += 3.0**2 / 2 * (5.0 * 4.0 / (L * 0.5) + 0.2) ** 2
    assert theory.theorem_1_bound(**CONSTANTS) == pytest.approx(printed)


@pytest.mark.parametrize("mu", [0.0, -1.0])
def test_there_is_no_bound_without_concavity(mu):
    assert theory.lemma_1_bound(1.0, mu, 1.0) is None
    assert theory.approximation_bound(1.0, mu) is None
    assert theory.smoothness(1.0, 1.0, 1.0, mu) is None
    assert theory.theorem_1_bound(**{**CONSTANTS, "mu": mu}) is None


# At the step size of the theorem, (35) gives 4 sigma sqrt(L delta / T), where
# (11) has the constant 2.
def test_the_printed_constant_is_half_of_the_proven_one():
    constants = {**CONSTANTS, "L_thetax": 0.0}  # No second term, and L = 2.
    eta = math.sqrt(1.1 / (2.0 * 0.7**2 * 100))
    assert eta < 1 / 2.0
    proven = theory.theorem_1_bound(**constants, eta=eta)
    assert proven == pytest.approx(4 * 0.7 * math.sqrt(2.0 * 1.1 / 100))
    assert proven == pytest.approx(2 * theory.theorem_1_bound(**constants))
    assert theory.theorem_1_bound(**constants, eta=0.51) is None


# The constants of the quadratic problem are known. SGD uses minibatches and the
# best examples of stale weights. Eq. (35) must hold for the mean of runs.
@pytest.mark.parametrize("staleness", [0, 1, 4])
def test_bound_holds_for_sgd_on_a_quadratic_problem(staleness):
    rng = np.random.default_rng(0)
    p, b, c = np.diag([1.0, 0.5, 2.0]), rng.normal(size=(3, 2)), 2.0
    shifts = rng.normal(size=(20, 3))
    images = 0.1 * rng.normal(size=(20, 2))

    def best(theta):  # Maximizes 1/2 t'P t + t'B x - c/2 |x|^2 + shift_i't.
        return b.T @ theta / c

    def gradients(theta, x):  # Gradients in theta, one for each example.
        return (p @ theta + (images + x) @ b.T / 2) + shifts

    def losses(theta):
        clean = images @ b.T @ theta - c / 2 * np.sum(images**2, axis=1)
        worst = theta @ b @ b.T @ theta / (2 * c)
        return np.mean(
            theta @ p @ theta / 2 + shifts @ theta + (clean + worst) / 2
        )

    norm = np.linalg.norm(b, 2)
    hessian = p + b @ b.T / (2 * c)
    minimum = -np.linalg.solve(
        hessian, (images.mean(0) @ b.T) / 2 + shifts.mean(0)
    )
    start, num_steps, batch = np.full(3, 3.0), 60, 4
    smoothness = theory.smoothness(2.0, norm, norm, c)
    eta = 0.5 / smoothness
    squares, largest = [], 0.0
    for _ in range(20):
        history = [start]
        for t in range(num_steps):
            theta, old = history[t], history[max(0, t - staleness)]
            squares.append(np.sum(gradients(theta, best(theta)).mean(0) ** 2))
            chosen = rng.integers(20, size=batch)
            g_hat = gradients(theta, best(old))[chosen].mean(0)
            largest = max(largest, np.linalg.norm(g_hat))
            history.append(theta - eta * g_hat)
    # The variance of gradients does not depend on theta.
    variance = gradients(start, best(start)).var(axis=0)
    sigma = math.sqrt(np.sum(variance) / batch)
    bound = theory.theorem_1_bound(
        L_thetatheta=2.0,
        L_thetax=norm,
        L_xtheta=norm,
        mu=c,
        lambda_=0.0,
        M=largest,
        sigma=sigma,
        delta=losses(start) - losses(minimum),
        staleness=staleness,
        num_steps=num_steps,
        eta=eta,
    )
    assert 0 < np.mean(squares) <= bound


def test_theorem_of_a_run_takes_the_worst_constants():
    good = dict.fromkeys(
        ["L_thetatheta", "L_thetax", "L_xtheta", "M", "gradient_norm"], 1.0
    )
    good |= {"mu": 2.0, "lambda_": 0.01, "sigma": 0.1, "L_D": 3.0}
    bad = {**good, "mu": 0.5, "sigma": 0.7, "L_D": 1.0, "gradient_norm": 3.0}
    result = theory.theorem_1_of_run([good, bad], staleness=1, num_steps=10)
    assert result["mu"] == 0.5 and result["sigma"] == 0.7
    assert result["delta"] == 3.0 and result["measured"] == 5.0
    assert result["bound"] == pytest.approx(
        theory.theorem_1_bound(
            **{**CONSTANTS, "staleness": 1, "num_steps": 10}
            | {name: result[name] for name in result if name in CONSTANTS}
        )
    )
    bad["mu"] = -1.0
    assert theory.theorem_1_of_run([good, bad], 1, 10)["bound"] is None
    with pytest.raises(ValueError, match="received none"):
        theory.theorem_1_of_run([], 1, 10)
