"""The distribution of random starts, and their dependence on the seed."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.attacks import attack_ops
from tests import distances
from tests import networks


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_start_moves_the_given_share_of_examples(probability, norm):
    count = 2000
    images = np.full([count, 2, 2, 1], 0.5, np.float32)
    attack = ca.PGD(0.1, step_size=1e-6, random_start=probability, norm=norm)
    adversarial = attack(
        networks.linear(), images, np.zeros(count, int), seed=0
    )
    # Farther than the gradient step of 1e-6. A random start is this close to
    # the image with probability 1e-5 ** 4.
    share = (distances.between(adversarial.numpy(), images, norm) > 1e-5).mean()
    deviation = np.sqrt(probability * (1 - probability) / count)
    assert abs(share - probability) <= 4 * deviation


def test_linf_start_is_uniform_in_the_cube():
    starts = attack_ops.random_start(
        tf.zeros([3000, 3, 3]), 0.5, "linf", 1.0, tf.constant([0, 0])
    )
    unit = starts.numpy().ravel() / 0.5
    assert -1.0 <= unit.min() and unit.max() < 1.0
    # Standard errors: sqrt(1/3/27000) = 0.0035 of the mean, and
    # sqrt(4/45/27000) = 0.0018 of the variance 1/3.
    assert abs(unit.mean()) < 0.014
    assert abs(unit.var() - 1 / 3) < 0.0073


def test_l2_start_is_uniform_in_the_ball():
    dimensions, count = 9, 4000
    starts = attack_ops.random_start(
        tf.zeros([count, 3, 3]), 0.5, "l2", 1.0, tf.constant([0, 0])
    )
    flat = starts.numpy().reshape(count, dimensions) / 0.5
    radius = np.linalg.norm(flat, axis=1)
    # radius ** dimensions is uniform in [0, 1]: mean 1/2, variance 1/12.
    # Four standard errors: 4 * sqrt(1/12/4000) and 4 * sqrt(1/180/4000).
    volume = radius**dimensions
    assert volume.max() <= 1.0 + 1e-5
    assert abs(volume.mean() - 0.5) < 0.0183
    assert abs(volume.var() - 1 / 12) < 0.0047
    # Directions have mean 0 and covariance I / dimensions.
    direction = flat / radius[:, None]
    np.testing.assert_allclose(direction.mean(axis=0), 0.0, atol=0.022)
    np.testing.assert_allclose(
        np.cov(direction.T), np.eye(dimensions) / dimensions, atol=0.012
    )


# Each draw has a separate stream. With 4 dimensions an example uses one Philox
# counter, and shared streams would tie its choice and radius to its direction.
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_choice_radius_and_direction_are_independent(norm):
    count = 4000
    starts = attack_ops.random_start(
        tf.zeros([count, 4]), 1.0, norm, 0.5, tf.constant([0, 0])
    ).numpy()
    moved = starts[starts.any(axis=1)]
    # Four standard errors; the variance is 1/3 in the cube, 1/6 in the ball.
    error = 4 * np.sqrt(1 / 3 / len(moved))
    np.testing.assert_allclose(moved.mean(axis=0), 0.0, atol=error)
    radius = np.linalg.norm(moved, axis=1)
    for direction in (moved / radius[:, None]).T:
        correlation = np.corrcoef(radius, direction)[0, 1]
        assert abs(correlation) < 4 / np.sqrt(len(moved))


def test_targets_are_independent_of_the_start():
    count = 4000
    seed = tf.constant([0, 0])
    starts = attack_ops.random_start(
        tf.zeros([count, 4]), 1.0, "linf", 1.0, seed
    )
    wrong = attack_ops.random_wrong_labels(
        tf.zeros(count), networks.CLASSES, seed
    )
    for coordinate in starts.numpy().T:
        correlation = np.corrcoef(coordinate, wrong)[0, 1]
        assert abs(correlation) < 4 / np.sqrt(count)


def test_same_seed_repeats_and_other_seeds_or_steps_do_not():
    network = networks.linear()
    images, labels = networks.batch()
    attack = ca.PGD(0.1, step_size=0.01)

    def run(seed):
        return attack(network, images, labels, seed).numpy()

    np.testing.assert_array_equal(run(3), run(3))
    np.testing.assert_array_equal(run(3), run(tf.constant([3, 0])))
    results = [run(3), run(4), run([3, 1]), run([3, 2]), run([4, 1])]
    for i, first in enumerate(results):
        for second in results[:i]:
            assert (first != second).any(axis=(1, 2, 3)).all()


# The start of one example must not determine the start of the next.
def test_examples_start_at_different_points():
    starts = attack_ops.random_start(
        tf.zeros([50, 5]), 1.0, "linf", 1.0, tf.constant([0, 0])
    )
    assert len(np.unique(starts.numpy())) == 250
