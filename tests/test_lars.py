"""LARS against ten lines of NumPy, against SGD, and its exclusions."""

import functools
import json

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca


def _variables():
    """Weights of each kind that LARS treats differently, by name."""
    rng = np.random.default_rng(0)
    return {
        name: tf.Variable(value.astype(np.float32), name=name)
        for name, value in {
            "a/kernel": rng.normal(size=(3, 4)),
            "zero/kernel": np.zeros([2, 3]),
            "dead/kernel": rng.normal(size=(5,)),  # Its gradient is always 0.
            "a/bias": rng.normal(size=(4,)),
            "norm/gamma": rng.normal(size=(2, 4)),  # Rank 2, as if stacked.
        }.items()
    }


def _gradients(variables, step):
    rng = np.random.default_rng([1, step])
    return {
        name: (0.0 if name.startswith("dead") else 1.0)
        * rng.normal(size=variable.shape)
        for name, variable in variables.items()
    }


def _apply(optimizer, variables, gradients):
    optimizer.apply_gradients(
        (tf.cast(gradients[name], tf.float32), variable)
        for name, variable in variables.items()
    )


def _numpy_step(w, g, m, rate, momentum, decay, trust, epsilon, variant):
    """The rule as its sources print it, float64."""
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
    [(0.0, 0.0, 0.001), (0.01, 0.0, 0.02), (0.05, 0.1, 0.5)],
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
    variables = _variables()
    optimizer.build(list(variables.values()))
    apply = tf.function(functools.partial(_apply, optimizer, variables))
    expected = {k: (v.numpy().astype(float), 0.0) for k, v in variables.items()}
    for step in range(100):
        gradients = _gradients(variables, step)
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
        # float32 against float64 over 100 steps.
        np.testing.assert_allclose(
            variable, expected[name][0], rtol=1e-4, atol=1e-5, err_msg=name
        )


# Trust is 1 where the gradient is 0, and Keras must not decay once more.
def test_zero_gradient_decays_once():
    optimizer = ca.LARS(0.5, momentum=0.0, weight_decay=0.1)
    variables = {
        name: tf.Variable([3.0, -4.0], name=name) for name in ("kernel", "bias")
    }
    _apply(optimizer, variables, dict.fromkeys(variables, [0.0, 0.0]))
    np.testing.assert_allclose(
        variables["kernel"], [3.0 * 0.95, -4.0 * 0.95], rtol=1e-6
    )
    np.testing.assert_array_equal(variables["bias"], [3.0, -4.0])
    assert optimizer.weight_decay is None


def test_one_step_by_hand():
    optimizer = ca.LARS(2.0, weight_decay=0.2, trust_coefficient=0.1)
    variables = {"kernel": tf.Variable([3.0, 4.0], name="kernel")}
    _apply(optimizer, variables, {"kernel": [0.0, 4.0]})
    # |w| = 5, |g| = 4: trust = 0.1 * 5 / (4 + 0.2 * 5) = 0.1 and
    # w - 2 * 0.1 * (g + 0.2 w) = [3, 4] - 0.2 * [0.6, 4.8].
    np.testing.assert_allclose(variables["kernel"], [2.88, 3.04], rtol=1e-6)


# With the rate inside the buffer, as in Keras; a changing rate shows it.
@pytest.mark.parametrize("nesterov", [False, True])
def test_all_excluded_is_momentum_sgd(nesterov):
    schedule = tf.keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)
    lars = ca.LARS(
        schedule, 0.9, weight_decay=0.1, nesterov=nesterov, exclude="."
    )
    sgd = tf.keras.optimizers.SGD(schedule, 0.9, nesterov)
    ours, theirs = _variables(), _variables()
    for step in range(20):
        gradients = _gradients(ours, step)
        _apply(lars, ours, gradients)
        _apply(sgd, theirs, gradients)
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
def test_any_keras_rate(rate):
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


# --- Exclusion --------------------------------------------------------------


def _excluded(optimizer, variables=None):
    variables = _variables() if variables is None else variables
    return {name for name, v in variables.items() if optimizer.is_excluded(v)}


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ({}, {"a/bias", "norm/gamma"}),
        ({"exclude_kinds": ("bias",)}, {"a/bias"}),
        ({"exclude_kinds": ("normalization",)}, {"norm/gamma"}),
        ({"exclude_kinds": ()}, set()),
        ({"exclude_kinds": (), "exclude": "zero|dead"}, {"zero", "dead"}),
        ({"exclude_kinds": (), "exclude": ["^zero", "bias"]}, {"zero", "bias"}),
        ({"exclude": ["^kernel"]}, {"a/bias", "norm/gamma"}),
    ],
)
def test_exclusion_by_kind_and_pattern(arguments, expected):
    excluded = _excluded(ca.LARS(**arguments))
    short = {"zero": "zero/kernel", "dead": "dead/kernel", "bias": "a/bias"}
    assert excluded == {short.get(name, name) for name in expected}


def test_identity_goes_before_the_name():
    variables = _variables()
    optimizer = ca.LARS(exclude_kinds=("normalization",))
    optimizer.exclude_variables([variables["a/kernel"]], "normalization")
    optimizer.exclude_variables([variables["norm/gamma"]], "bias")
    assert _excluded(optimizer, variables) == {"a/kernel"}


# Layers of nested models have the same variable names.
def test_identity_tells_variables_of_one_name_apart():
    first, second = (tf.Variable([3.0, 4.0], name="kernel") for _ in "ab")
    optimizer = ca.LARS(1.0, momentum=0.0, trust_coefficient=0.1)
    optimizer.exclude_variables([second], "bias")
    gradient = tf.constant([10.0, 0.0])
    optimizer.apply_gradients([(gradient, first), (gradient, second)])
    np.testing.assert_allclose(first, [2.5, 4.0], rtol=1e-6)  # Trust 0.05.
    np.testing.assert_allclose(second, [-7.0, 4.0], rtol=1e-6)


def test_exclusion_by_identity_on_two_replicas():
    strategy = ca.distribution.strategy("mirrored", num_replicas=2)
    with strategy.scope():
        first, second = (tf.Variable([3.0, 4.0], name="kernel") for _ in "ab")
        optimizer = ca.LARS(1.0, momentum=0.0, trust_coefficient=0.1)
        optimizer.exclude_variables([second], "bias")
        optimizer.build([first, second])

    def step():  # Keras sums gradients over the replicas.
        gradient = tf.constant([5.0, 0.0])
        optimizer.apply_gradients([(gradient, first), (gradient, second)])

    tf.function(lambda: strategy.run(step))()
    np.testing.assert_allclose(first.numpy(), [2.5, 4.0], rtol=1e-6)
    np.testing.assert_allclose(second.numpy(), [-7.0, 4.0], rtol=1e-6)


# --- Configuration ----------------------------------------------------------


def test_config_round_trip_keeps_everything():
    optimizer = ca.LARS(
        ca.WarmupPolynomialDecay(0.5, 10, 3, power=1.6),
        momentum=0.8,
        weight_decay=0.1,
        trust_coefficient=0.02,
        epsilon=0.01,
        nesterov=True,
        exclude=("zero", "dead"),
        exclude_kinds=("bias",),
        decay_in_norm=True,
        name="mine",
        global_clipnorm=2.0,
    )
    config = tf.keras.optimizers.serialize(optimizer)
    copy = tf.keras.optimizers.deserialize(json.loads(json.dumps(config)))
    assert type(copy) is ca.LARS
    assert isinstance(copy._learning_rate, ca.WarmupPolynomialDecay)
    assert copy.get_config() == optimizer.get_config()
    assert copy.global_clipnorm == 2.0
    ours, theirs = _variables(), _variables()
    assert _excluded(copy) == {"zero/kernel", "dead/kernel", "a/bias"}
    for step in range(5):
        _apply(optimizer, ours, _gradients(ours, step))
        _apply(copy, theirs, _gradients(ours, step))
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


# A constructor argument that get_config forgets cannot come back.
def test_config_has_every_constructor_argument():
    arguments = set(ca.LARS.__init__.__code__.co_varnames[1:11])
    assert {"learning_rate", "exclude", "exclude_kinds"} < arguments
    assert arguments <= set(ca.LARS().get_config())


def test_updates_under_tf_function_and_xla_equal_eager():
    eager, compiled = _variables(), _variables()
    first, second = (ca.LARS(0.5, weight_decay=0.1) for _ in "ab")
    second.build(list(compiled.values()))

    @tf.function(jit_compile=True)
    def step(gradients):
        second.apply_gradients(
            (gradients[name], v) for name, v in compiled.items()
        )

    for i in range(3):
        gradients = _gradients(eager, i)
        _apply(first, eager, gradients)
        step({k: tf.constant(g, tf.float32) for k, g in gradients.items()})
    for name in eager:
        np.testing.assert_allclose(
            eager[name], compiled[name], rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"momentum": 1.0}, r"momentum in \[0, 1\); received 1\.0"),
        ({"momentum": -0.1}, r"momentum .* received -0\.1"),
        ({"weight_decay": -0.5}, r"weight_decay >= 0; received -0\.5"),
        ({"trust_coefficient": 0}, "trust_coefficient > 0; received 0"),
        ({"epsilon": -1e-9}, "epsilon >= 0; received -1e-09"),
        ({"exclude_kinds": ["kernel"]}, r"received \['kernel'\]"),
    ],
    ids=str,
)
def test_bad_arguments_are_named_with_their_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        ca.LARS(**arguments)


def test_unknown_kind_is_refused():
    with pytest.raises(ValueError, match=r"received \['weights'\]"):
        ca.LARS().exclude_variables([], "weights")
