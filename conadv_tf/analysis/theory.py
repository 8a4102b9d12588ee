"""The formulas of Lemma 1 and Theorem 1 of the paper.

Liu et al. 2022 (arXiv 2106.00221), section 3.4 and appendix. Names follow the
symbols of its assumptions:

    L_xtheta      |grad_x L(theta_1; x) - grad_x L(theta_2; x)|
                      <= L_xtheta |theta_1 - theta_2|                     (6)
    L_thetatheta, L_thetax, L_xx   the other three of Assumption 1        (6)
    mu            L is mu-strongly concave in x on the ball of x_i        (7)
    M             |g_hat| <= M                                            (8)
    sigma         E |g - grad L_D|^2 <= sigma^2                           (9)
    lambda_       <x - x_hat, grad_x L(theta; x_hat)> <= lambda for all x of
                  the ball: how far x_hat is from the best example
    delta         L_D(theta_0) - min L_D
    staleness     tau

Errata of the paper that concern these formulas:

    (3), (5)   the sign of the gradient is missing (the text says FGSM/PGD);
    (4)        ascends: the sign of the update should be minus;
    (6)        the third line prints L_xx for L_thetax;
    (7)        the norm in the last term should be squared;
    (10)       prints L / mu where (12) and its proof have L_xtheta / mu;
    (11)       dividing (35) by eta T / 2 gives 4 sigma sqrt(L delta / T), not
               2, for eta = sqrt(delta / (L sigma^2 T)), and 2 L delta / T
               more for eta = 1 / L;
    (19)       L / (t - tau) should be L / 2 and the norm squared;
    (23)       leaves out the staleness, which (31) has;
    (25), (27) mix delta with lambda and grad_theta with grad_x;
    (32)       gives a second L, which contradicts that of (11).

Assumption 2 is strong. For cross-entropy and a piecewise linear network (ReLU)
the Hessian in x is J^T H J with a positive semidefinite H, so that mu <= 0 and
there is no bound. Bounds are then None.
"""

from collections.abc import Mapping
from collections.abc import Sequence
import math
from typing import Optional


def lemma_1_bound(
    L_xtheta: float, mu: float, weight_drift: float
) -> Optional[float]:
    """Returns how far the best adversarial example can move, (10) and (12).

        |x*(theta_t) - x*(theta_t-tau)|
            <= L_xtheta / mu |theta_t - theta_t-tau|

    Args:
      L_xtheta: the constant of Assumption 1.
      mu: the constant of Assumption 2.
      weight_drift: |theta_t - theta_t-tau|; eta tau M is an upper bound.

    Returns:
      Float, in pixel units and the L2 norm; None unless mu > 0.

    Example:
      >>> ca.analysis.lemma_1_bound(L_xtheta=2.0, mu=0.5, weight_drift=0.25)
      1.0
      >>> ca.analysis.lemma_1_bound(L_xtheta=2.0, mu=-0.5, weight_drift=0.25)
    """
    return L_xtheta / mu * weight_drift if mu > 0 else None


def approximation_bound(lambda_: float, mu: float) -> Optional[float]:
    """Returns how far an approximate example is from the best one, (30).

        |x* - x_hat| <= sqrt(lambda / mu)

    Args:
      lambda_: optimality gap of the approximate example, >= 0.
      mu: the constant of Assumption 2.

    Returns:
      Float; None unless mu > 0.
    """
    return math.sqrt(lambda_ / mu) if mu > 0 else None


def smoothness(
    L_thetatheta: float, L_thetax: float, L_xtheta: float, mu: float
) -> Optional[float]:
    """Returns L of L_D, Lemma 2: L_thetatheta + L_xtheta L_thetax / (2 mu).

    Args:
      L_thetatheta: constant of Assumption 1.
      L_thetax: constant of Assumption 1.
      L_xtheta: constant of Assumption 1.
      mu: constant of Assumption 2.

    Returns:
      Float; None unless mu > 0.
    """
    return L_thetatheta + L_xtheta * L_thetax / (2 * mu) if mu > 0 else None


def theorem_1_bound(
    *,
    L_thetatheta: float,
    L_thetax: float,
    L_xtheta: float,
    mu: float,
    lambda_: float,
    M: float,
    sigma: float,
    delta: float,
    staleness: int,
    num_steps: int,
    eta: Optional[float] = None,
) -> Optional[float]:
    """Returns the bound on the mean squared gradient of L_D over a run of SGD.

    By default it is Eq. (11) as printed, with the step size of the theorem:

        2 sigma sqrt(L delta / T)
            + L_thetax^2 / 2 (tau M L_xtheta / (L mu) + sqrt(lambda / mu))^2

    For a given constant step size eta <= 1 / L, it is Eq. (35) divided by
    eta T / 2, which the proof establishes:

        2 delta / (eta T) + 2 L eta sigma^2
            + L_thetax^2 / 4 (1 + L eta)
              (eta tau M L_xtheta / mu + sqrt(lambda / mu))^2

    Args:
      L_thetatheta: constant of Assumption 1, (6).
      L_thetax: constant of Assumption 1, (6).
      L_xtheta: constant of Assumption 1, (6).
      mu: constant of Assumption 2, (7).
      lambda_: optimality gap of the approximate examples, >= 0.
      M: bound on the norm of the gradient, (8).
      sigma: standard deviation of the gradient, (9), for the batch size of the
        run.
      delta: L_D(theta_0) - min L_D.
      staleness: tau.
      num_steps: T, the number of updates.
      eta: step size; None is Eq. (11).

    Returns:
      Float; None unless mu > 0 and eta <= 1 / L.

    Example: the bound grows with staleness.
      >>> constants = dict(
      ...     L_thetatheta=1.0, L_thetax=1.0, L_xtheta=1.0, mu=1.0, lambda_=0.0,
      ...     M=1.0, sigma=1.0, delta=1.0, num_steps=150,
      ... )
      >>> for staleness in (0, 1, 2):
      ...     bound = ca.analysis.theorem_1_bound(
      ...         staleness=staleness, **constants
      ...     )
      ...     print(round(bound, 3))
      0.2
      0.422
      1.089
    """
    L = smoothness(L_thetatheta, L_thetax, L_xtheta, mu)
    example = approximation_bound(lambda_, mu)
    if L is None or example is None or (eta is not None and eta * L > 1):
        return None
    if eta is None:
        drift = staleness * M * L_xtheta / (L * mu)
        return (
            2 * sigma * math.sqrt(L * delta / num_steps)
            + L_thetax**2 / 2 * (drift + example) ** 2
        )
    drift = eta * staleness * M * L_xtheta / mu
    return (
        2 * delta / (eta * num_steps)
        + 2 * L * eta * sigma**2
        + L_thetax**2 / 4 * (1 + L * eta) * (drift + example) ** 2
    )


def theorem_1_of_run(
    rows: Sequence[Mapping[str, float]], staleness: int, num_steps: int
) -> dict[str, Optional[float]]:
    """Returns both sides of Theorem 1 for a run, and its measured constants.

    Each constant is the worst one of the rows. It is an estimate: the true
    constant holds everywhere, not only where the run was measured. delta is L_D
    of the first row, which is its upper bound for a loss >= 0. The theorem
    assumes SGD with a particular step size; it does not apply to runs with
    another optimizer.

    Args:
      rows: dicts returned by `measure_drift`, in the order of the run.
      staleness: tau.
      num_steps: T, the number of updates.

    Returns:
      Dict of the constants, "bound" (Eq. 11; None unless mu > 0) and
      "measured", the mean of |grad L_D|^2 over the rows.

    Raises:
      ValueError: if there are no rows.
    """
    if not rows:
        raise ValueError(
            "Expected at least one row of measure_drift; received none."
        )
    constants = {
        name: max(row[name] for row in rows)
        for name in (
            *("L_thetatheta", "L_thetax", "L_xtheta"),
            *("lambda_", "M", "sigma"),
        )
    }
    constants["mu"] = min(row["mu"] for row in rows)
    constants["delta"] = rows[0]["L_D"]
    bound = theorem_1_bound(
        **constants, staleness=staleness, num_steps=num_steps
    )
    measured = sum(row["gradient_norm"] ** 2 for row in rows) / len(rows)
    return {**constants, "bound": bound, "measured": measured}
