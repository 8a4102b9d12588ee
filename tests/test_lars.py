"""LARS against NumPy, against SGD, and against steps computed by hand."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import lars_variables
from tests.marks import slow


def _numpy_step(w, g, m, rate, momentum, decay, trust, epsilon, variant):
    """The update rule as in the papers, float64."""
    nesterov, decay_in_norm, excluded = variant
    if excluded:
        update = rate * g
    else:
        decayed = g + decay * w
        w_norm = np.sqrt((w**2).sum())
        g_norm = np.sqrt(((decayed if decay_in_norm else g) ** 2).sum())
        below = g_norm + epsilon + (not decay_in_norm) * decay * w_norm
        ratio = trust * w_norm / below if w_norm * g_norm > 0 else 1.0
        update = rate * ratio * decayed
    m = momentum * m + update
    return w - (momentum * m + update if nesterov else m), m


@pytest.mark.parametrize("decay_in_norm", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(
    "decay, epsilon, trust",
    [slow(0.0, 0.0, 0.001), slow(0.01, 0.0, 0.02), (0.05, 0.1, 0.5)],
)
def test_100_random_steps_equal_numpy(
    decay_in_norm, nesterov, decay, epsilon, trust
):
    schedule = ca.WarmupPolynomialDecay(0.3, 100, 10, end_learning_rate=0.01)
    optimizer = ca.LARS(
        schedule,
        momentum=0.8,
        weight_decay=decay,
        trust_coefficient=trust,
        epsilon=epsilon,
        nesterov=nesterov,
        decay_in_norm=decay_in_norm,
    )
    variables = lars_variables.make()
    optimizer.build(list(variables.values()))
    apply = tf.function(
        functools.partial(lars_variables.apply, optimizer, variables)
    )
    expected = {k: (v.numpy().astype(float), 0.0) for k, v in variables.items()}
    for step in range(100):
        gradients = lars_variables.gradients(variables, step)
        apply({k: tf.constant(v) for k, v in gradients.items()})
        rate = float(schedule(step))
        for name, (w, m) in expected.items():
            excluded = name in ("a/bias", "norm/gamma")
            expected[name] = _numpy_step(
                w,
                gradients[name],
                m,
                rate,
                0.8,
                decay,
                trust,
                epsilon,
                (nesterov, decay_in_norm, excluded),
            )
    for name, variable in variables.items():
        # float32 against float64, after 100 steps.
        np.testing.assert_allclose(
            variable, expected[name][0], rtol=1e-4, atol=1e-5, err_msg=name
        )


# The trust ratio is 1 if the gradient is 0. Keras must not decay again.
def test_weight_with_zero_gradient_decays_once():
    optimizer = ca.LARS(0.5, momentum=0.0, weight_decay=0.1)
    variables = {
        name: tf.Variable([3.0, -4.0], name=name) for name in ("kernel", "bias")
    }
    lars_variables.apply(
        optimizer, variables, dict.fromkeys(variables, [0.0, 0.0])
    )
    np.testing.assert_allclose(
        variables["kernel"], [3.0 * 0.95, -4.0 * 0.95], rtol=1e-6
    )
    np.testing.assert_array_equal(variables["bias"], [3.0, -4.0])
    assert optimizer.weight_decay is None


def test_one_step_by_hand():
    optimizer = ca.LARS(2.0, weight_decay=0.2, trust_coefficient=0.1)
    variables = {"kernel": tf.Variable([3.0, 4.0], name="kernel")}
    lars_variables.apply(optimizer, variables, {"kernel": [0.0, 4.0]})
    # |w| = 5, |g| = 4: trust = 0.1 * 5 / (4 + 0.2 * 5) = 0.1 and
    # w - 2 * 0.1 * (g + 0.2 w) = [3, 4] - 0.2 * [0.6, 4.8].
    np.testing.assert_allclose(variables["kernel"], [2.88, 3.04], rtol=1e-6)


# The rate is inside the momentum buffer, as in Keras. A changing rate shows it.
@pytest.mark.parametrize("nesterov", [False, True])
def test_all_excluded_is_momentum_sgd(nesterov):
    schedule = tf.keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
    lars = ca.LARS(
        schedule, momentum=0.9, weight_decay=0.1, nesterov=nesterov, exclude="."
    )
    sgd = tf.keras.optimizers.SGD(schedule, 0.9, nesterov)
    ours, theirs = lars_variables.make(), lars_variables.make()
    for step in range(20):
        gradients = lars_variables.gradients(ours, step)
        lars_variables.apply(lars, ours, gradients)
        lars_variables.apply(sgd, theirs, gradients)
    for name in ours:
        np.testing.assert_allclose(
            ours[name], theirs[name], rtol=1e-5, atol=1e-6, err_msg=name
        )


_schedules = tf.keras.optimizers.schedules


@pytest.mark.parametrize(
    "rate",
    [
        0.25,
        _schedules.PiecewiseConstantDecay([1, 3], [0.5, 0.25, 0.125]),
        _schedules.CosineDecay(0.5, 4),
        ca.WarmupPolynomialDecay(0.5, 5, 2),
    ],
    ids=lambda rate: type(rate).__name__,
)
def test_learning_rate_schedules_of_keras(rate):
    optimizer = ca.LARS(rate, momentum=0.0)
    bias = tf.Variable([0.0], name="bias")
    for step in range(5):
        before = bias.numpy()
        optimizer.apply_gradients([(tf.constant([1.0]), bias)])
        wanted = rate if isinstance(rate, float) else float(rate(step))
        np.testing.assert_allclose(before - bias, wanted, rtol=1e-5, atol=1e-7)


def test_learning_rate_can_be_assigned():
    optimizer = ca.LARS(0.25)
    optimizer.learning_rate = 0.5
    assert float(optimizer.learning_rate) == 0.5


def test_updates_under_tf_function_and_xla_equal_eager():
    eager, compiled = lars_variables.make(), lars_variables.make()
    first, second = (ca.LARS(0.5, weight_decay=0.1) for _ in "ab")
    second.build(list(compiled.values()))

    @tf.function(jit_compile=True)
    def step(gradients):
        second.apply_gradients(
            (gradients[name], v) for name, v in compiled.items()
        )

    for i in range(3):
        gradients = lars_variables.gradients(eager, i)
        lars_variables.apply(first, eager, gradients)
        step({k: tf.constant(g, tf.float32) for k, g in gradients.items()})
    for name in eager:
        np.testing.assert_allclose(
            eager[name], compiled[name], rtol=1e-5, atol=1e-6
        )
