"""Mixed precision: what must stay float32 does, and a step hardly changes."""

import contextlib
import functools

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import model as model_lib
from conadv_tf.optimizers import trust_ratio as rule
from tests import models
from tests import networks
from tests.marks import slow


@contextlib.contextmanager
def _policy(name):
    tf.keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


def _network(policy, weights=None):
    with _policy(policy):
        logits = networks.small()
        # As our networks end.
        outputs = tf.keras.layers.Activation("linear", dtype="float32")(
            logits.output
        )
        network = tf.keras.Model(logits.input, outputs)
    if weights is not None:
        network.set_weights(weights)
    return network


def _optimizer(policy):
    optimizer = ca.LARS(0.5, weight_decay=1e-4)
    if policy == "mixed_float16":
        return tf.keras.mixed_precision.LossScaleOptimizer(
            optimizer, initial_scale=2.0**10
        )
    return optimizer


@functools.lru_cache
def _losses_and_changes(policy, method):
    """The mean loss of two steps from fixed weights, and weight changes."""
    tf.keras.utils.set_random_seed(0)
    weights = _network("float32").get_weights()
    model, loss = _steps(policy, method, weights, 2)
    start = _network("float32", weights)
    if method != "plain":
        start = ca.split_batch_norm(start)
    change = networks.weights(model.network) - networks.weights(start)
    return loss, change


def _steps(policy, method, weights, steps):
    # L2, because a sign is not continuous in the gradient.
    attack = ca.PGD(0.5, norm="l2", random_start=0.8)
    network = _network(policy, weights)
    model = models.build(method, network, attack, _optimizer(policy))
    data = networks.dataset(networks.batches(steps))
    history = model.fit(data, verbose=0).history
    return model, history["loss"][0]


# bfloat16 has 8 bits of mantissa, float16 has 11; gradients add up errors of
# some layers. The changes of the weights are compared, not the weights, which
# hardly move.
@pytest.mark.parametrize(
    "policy, tolerance, method",
    [
        ("mixed_bfloat16", 0.1, "conadv"),
        ("mixed_float16", 0.02, "conadv"),
        slow("mixed_bfloat16", 0.1, "plain"),
        slow("mixed_bfloat16", 0.1, "disadv"),
    ],
)
def test_steps_are_those_of_float32(policy, tolerance, method):
    expected_loss, wanted = _losses_and_changes("float32", method)
    loss, change = _losses_and_changes(policy, method)
    np.testing.assert_allclose(loss, expected_loss, rtol=tolerance)
    error = np.linalg.norm(change - wanted) / np.linalg.norm(wanted)
    assert 0 < error < tolerance  # 0 would be float32 throughout.


@pytest.mark.parametrize("policy", ["mixed_bfloat16", slow("mixed_float16")])
def test_what_stays_in_float32(policy, monkeypatch):
    seen = {"norms": set(), "logits": set(), "losses": set()}
    trust_ratio = rule.trust_ratio

    def spy_on_norms(weight, gradient, **kwargs):
        ratio = trust_ratio(weight, gradient, **kwargs)
        seen["norms"] |= {weight.dtype, gradient.dtype, ratio.dtype}
        return ratio

    compute_loss = model_lib.ConAdvModel.compute_loss

    def spy_on_loss(self, x, y, logits, weights):
        loss = compute_loss(self, x, y, logits, weights)
        seen["logits"].add(logits.dtype)
        seen["losses"].add(loss.dtype)
        return loss

    monkeypatch.setattr(rule, "trust_ratio", spy_on_norms)
    monkeypatch.setattr(model_lib.ConAdvModel, "compute_loss", spy_on_loss)
    model, _ = _steps(policy, "conadv", None, 1)
    assert all(dtypes == {tf.float32} for dtypes in seen.values()), seen
    for variable in (
        *model.network.variables,
        *model.optimizer.variables,
        *model.runner.shadow.variables().values(),
    ):
        assert variable.dtype in (tf.float32, tf.int64), variable.name
    _, convolution, norm, *_ = model.network.layers
    images = np.zeros((2, 6, 6, 1), np.float32)
    assert norm(convolution(images)).dtype == policy[len("mixed_") :]
    assert model.predict(images, verbose=0).dtype == np.float32


# A gradient too large for float16 costs a step and half of the scale.
@pytest.mark.slow
def test_float16_overflow_skips_a_step():
    network = _network("mixed_float16")
    model = ca.ConAdvModel(network, ca.FGSM(0.1))
    optimizer = tf.keras.mixed_precision.LossScaleOptimizer(
        ca.LARS(0.5), initial_scale=2.0**30
    )
    model.compile(optimizer, networks.LOSS)
    before = networks.weights(model.network)
    data = networks.dataset(networks.batches(1))
    model.fit(data, verbose=0)
    np.testing.assert_array_equal(before, networks.weights(model.network))
    assert model.skipped_steps == 1
    assert float(optimizer.loss_scale) == 2.0**29


@pytest.mark.parametrize("optimizer", ["sgd", ca.LARS(0.5)])
def test_float16_gets_a_loss_scale(optimizer):
    for policy in ("float32", "mixed_float16"):
        model = ca.ConAdvModel(_network(policy), ca.FGSM(0.1))
        model.compile(optimizer, networks.LOSS)
        assert hasattr(model.optimizer, "loss_scale") == ("16" in policy)
