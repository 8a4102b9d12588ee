"""Wrong values that were once replaced by another value or ignored."""

import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.attacks import attack_ops

IMAGES = tf.fill([2, 4, 4, 1], 0.5)


# Any norm but "linf" was once L2.
@pytest.mark.parametrize(
    "function, arguments",
    [
        (attack_ops.project, (IMAGES, IMAGES, 0.1, "l1", (0.0, 1.0))),
        (attack_ops.ascent_step, (IMAGES, IMAGES, 0.1, "Linf")),
        (attack_ops.random_start, (IMAGES, 0.1, "inf", 1.0, [0, 0])),
    ],
)
def test_norms(function, arguments):
    with pytest.raises(ValueError, match="'linf', 'l2'.*received '(l1|L?inf)'"):
        function(*arguments)


@pytest.mark.parametrize(
    "function, arguments, message",
    [
        (
            ca.data.load,
            {"name": "folder:/x", "data_dir": "/y"},
            "'folder:/x'.*received '/y'",
        ),
        (
            ca.scaling_rule,
            {"global_batch_size": 8192, "base_learning_rate": 0.2},
            "received {'base_learning_rate': 0.2} with .paper.",
        ),
        (
            ca.scaling_rule,
            {"global_batch_size": 8, "rule": "sqrt", "base_batch_size": -2},
            "received -2",
        ),
        (
            ca.WarmupPolynomialDecay,
            {
                "base_learning_rate": 1.0,
                "train_steps": 9,
                "end_learning_rate": -0.1,
            },
            "end_learning_rate >= 0; received -0.1",
        ),
        (ca.networks.resnet_cifar, {"std": 0.5}, "mean=None and std=0.5"),
        (ca.networks.resnet_cifar, {"mean": 0.5}, "mean=0.5 and std=None"),
    ],
)
def test_values_that_were_ignored(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(**arguments)


def test_a_network_without_normalization():
    kinds = [type(x) for x in ca.networks.resnet(18, mean=None).layers]
    assert tf.keras.layers.Normalization not in kinds
    # A schedule hides nothing of the attack's ball.
    attack = ca.ScheduledAttack(ca.PGD(0.1, norm="l2"), lambda step: 1.0)
    assert attack.norm == "l2"
