"""FGSM and PGD equal closed forms and stay in the ball and the range."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.attacks import attack_ops
from tests import distances
from tests import networks


def _numpy_pgd(weights, x, y, attack):
    """PGD on softmax regression: grad_x of the loss is (p - onehot) W^T."""
    w, b = (p.astype(np.float64) for p in weights)
    adversarial = x = x.reshape(len(x), -1).astype(np.float64)
    for _ in range(attack.num_steps):
        logits = adversarial @ w + b
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        gradient = (p - np.eye(networks.CLASSES)[y]) @ w.T
        if attack.norm == "linf":
            step = np.sign(gradient)
        else:
            step = gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
        perturbation = adversarial + attack.step_size * step - x
        if attack.norm == "linf":
            perturbation = np.clip(
                perturbation, -attack.epsilon, attack.epsilon
            )
        else:
            length = np.linalg.norm(perturbation, axis=1, keepdims=True)
            perturbation *= np.minimum(1, attack.epsilon / length)
        adversarial = np.clip(x + perturbation, *attack.value_range)
    return adversarial


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 2.0)])
@pytest.mark.parametrize(
    "make",
    [
        lambda **kwargs: ca.FGSM(0.3, **kwargs),
        lambda **kwargs: ca.PGD(0.3, num_steps=5, random_start=False, **kwargs),
        # The steps do not reach the surface of the ball.
        lambda **kwargs: ca.PGD(
            0.3, step_size=0.04, num_steps=4, random_start=False, **kwargs
        ),
    ],
    ids=["fgsm", "pgd", "pgd-short"],
)
def test_linear_network_equals_closed_form(make, value_range, norm):
    network = networks.linear()
    images, labels = networks.batch(16, value_range)
    attack = make(norm=norm, value_range=value_range)
    adversarial = attack(network, images, labels, seed=0).numpy()
    # float32 against float64: a few ulps for each of five steps.
    np.testing.assert_allclose(
        adversarial.reshape(16, -1),
        _numpy_pgd(network.get_weights(), images, labels, attack),
        atol=2e-6,
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("step_size", [None, 0.1])
def test_one_full_step_without_start_is_fgsm(norm, step_size):
    network = networks.convolutional()
    images, labels = networks.batch(shape=(6, 6, 1))
    pgd = ca.PGD(0.1, step_size=step_size, random_start=False, norm=norm)
    np.testing.assert_array_equal(
        pgd(network, images, labels, seed=0),
        ca.FGSM(0.1, norm=norm)(network, images, labels, seed=0),
    )


def test_default_step_size_is_2_5_epsilon_over_steps():
    assert ca.PGD(0.2).step_size == pytest.approx(0.2)
    assert ca.PGD(0.2, num_steps=10).step_size == pytest.approx(0.05)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("step_size", [None, 0.1])
@pytest.mark.parametrize("random_start", [False, True])
def test_epsilon_0_returns_the_images_bit_for_bit(
    norm, step_size, random_start
):
    images, labels = networks.batch()
    images[0], images[1] = 0.0, 1.0
    attack = ca.PGD(
        0.0,
        step_size=step_size,
        num_steps=2,
        random_start=random_start,
        norm=norm,
    )
    np.testing.assert_array_equal(
        attack(networks.linear(), images, labels, seed=0), images
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("num_steps", [1, 4])
@pytest.mark.parametrize("random_start", [False, 0.5, True])
@pytest.mark.parametrize("targeted", [None, "random"])
@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 2.0)])
def test_result_stays_in_the_ball_and_the_range(
    norm, num_steps, random_start, targeted, value_range
):
    epsilon = 0.3
    attack = ca.PGD(
        epsilon,
        step_size=0.5,  # Longer than epsilon, so that the projection matters.
        num_steps=num_steps,
        random_start=random_start,
        value_range=value_range,
        norm=norm,
        targeted=targeted,
    )
    images, labels = networks.batch(8, value_range)
    images[0], images[1] = value_range
    adversarial = attack(networks.linear(), images, labels, seed=3)
    assert adversarial.dtype == tf.float32
    assert adversarial.shape == images.shape
    adversarial = adversarial.numpy()
    assert np.isfinite(adversarial).all()
    low, high = value_range
    assert adversarial.min() >= low and adversarial.max() <= high
    distance = distances.between(adversarial, images, norm)
    assert distance.max() <= epsilon + distances.ROUNDING
    # Images inside the range reach the surface of the ball.
    assert distance[2:].max() == pytest.approx(epsilon, abs=1e-5)


# The gradient is 0, or so small that its square underflows.
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    "scale, moves", [(0.0, False), (1e-30, True)], ids=["zero", "tiny"]
)
def test_vanishing_gradients_stay_finite(norm, scale, moves):
    gradient = tf.constant([[3.0, -4.0]]) * scale
    moved = attack_ops.ascent_step(
        tf.zeros([1, 2]), gradient, step_size=1.0, norm=norm
    )
    direction = [[1.0, -1.0]] if norm == "linf" else [[0.6, -0.8]]
    expected = np.multiply(direction, float(moves))
    np.testing.assert_allclose(moved, expected, rtol=1e-6)
