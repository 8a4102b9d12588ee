"""Wrong attacks and arguments are refused; configurations round-trip."""

import functools
import json

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import attacks
from tests import networks


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"epsilon": -0.25}, r"epsilon >= 0.* received -0\.25"),
        ({"epsilon": float("nan")}, "epsilon >= 0.* received nan"),
        ({"epsilon": float("inf")}, "epsilon >= 0.* received inf"),
        ({"epsilon": "4/255"}, "epsilon to be a number; received .4/255.*quot"),
        ({"step_size": 0}, "step_size > 0.* received 0"),
        ({"step_size": -0.5}, r"step_size > 0.* received -0\.5"),
        ({"num_steps": 0}, "num_steps .* received 0"),
        ({"num_steps": 1.5}, r"num_steps .* received 1\.5"),
        ({"random_start": -0.1}, r"random_start .* received -0\.1"),
        ({"random_start": 1.5}, r"random_start .* received 1\.5"),
        ({"norm": "l1"}, "norm .*linf.*l2.* received 'l1'"),
        ({"targeted": "least_likely"}, "received 'least_likely'"),
        ({"value_range": (1.0, 0.0)}, r"low < high.* received \(1\.0, 0\.0\)"),
        ({"value_range": 1.0}, r"low < high.* received 1\.0"),
        ({"value_range": (0, 1, 2)}, r"received \(0, 1, 2\)"),
    ],
    ids=str,
)
def test_bad_arguments_are_named_with_their_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        ca.PGD(**{"epsilon": 0.1, **arguments})


def test_integer_images_are_refused():
    images = np.zeros([4, 2, 2, 1], np.uint8)
    with pytest.raises(ValueError, match="received dtype uint8"):
        ca.FGSM(0.1)(networks.linear(), images, np.zeros(4), seed=0)


@pytest.mark.parametrize(
    "network",
    [
        lambda images: tf.zeros([8, networks.CLASSES]),
        lambda images: tf.stop_gradient(networks.linear()(images)),
    ],
    ids=["constant", "stop_gradient"],
)
def test_network_without_gradient_is_refused(network):
    images, labels = networks.batch()
    with pytest.raises(ValueError, match="does not depend on the images"):
        ca.FGSM(0.1)(network, images, labels, seed=0)


def test_labels_of_another_width_are_refused():
    images, _ = networks.batch(4)
    with pytest.raises(ValueError, match=r"received labels of shape \(4, 2\)"):
        ca.FGSM(0.1)(networks.linear(), images, np.zeros([4, 2]), seed=0)


def test_seed_of_another_shape_is_refused():
    images, labels = networks.batch()
    with pytest.raises(ValueError, match=r"received shape \(3,\)"):
        ca.FGSM(0.1)(networks.linear(), images, labels, seed=[1, 2, 3])


@pytest.mark.parametrize(
    "attack",
    [
        ca.PGD(0.1),
        ca.PGD(
            0.2,
            step_size=0.05,
            num_steps=3,
            random_start=0.8,
            value_range=(-1, 2),
            norm="l2",
            targeted="random",
        ),
        ca.FGSM(0.1),
        ca.FGSM(
            0.2,
            random_start=0.5,
            value_range=(-1, 2),
            norm="l2",
            targeted="random",
        ),
    ],
    ids=repr,
)
def test_config_round_trip(attack):
    config = json.loads(json.dumps(attack.get_config()))
    copies = [
        type(attack).from_config(config),
        attacks.deserialize(json.loads(json.dumps(attacks.serialize(attack)))),
        eval(repr(attack), {"PGD": ca.PGD, "FGSM": ca.FGSM}),
    ]
    for copy in copies:
        assert type(copy) is type(attack)
        assert vars(copy) == vars(attack)


def test_serialize_accepts_none_and_refuses_unregistered_attacks():
    class Mine(ca.PGD):
        pass

    assert attacks.deserialize(attacks.serialize(None)) is None
    with pytest.raises(ValueError, match=r"received Mine\(epsilon=0\.1"):
        attacks.serialize(Mine(0.1))


class Shift:
    """A custom attack; the function `shift` does the same."""

    value_range = (0.0, 1.0)

    def __call__(self, network, images, labels, seed, loss=None):
        return images + 0.1


def shift(network, images, labels, seed, loss=None):
    return images + 0.1


def with_range(function, value_range=(0.0, 1.0)):
    function.value_range = value_range
    return function


class WithoutSignature(Shift):
    __signature__ = "no signature"


@pytest.mark.parametrize(
    "attack",
    [
        ca.PGD(0.1),
        ca.ScheduledAttack(ca.FGSM(0.1), lambda step: 1.0),
        Shift(),
        with_range(functools.partial(shift)),
        with_range(functools.partial(shift, loss=None), [-1, 1]),
        with_range(tf.function(shift)),
        with_range(lambda network, x, y, **others: x),
        with_range(lambda *args, **kwargs: args[1]),
        with_range(lambda network, x, y, *, seed, loss: x),
        WithoutSignature(),
    ],
    ids=lambda attack: type(attack).__name__,
)
def test_custom_attacks_are_accepted(attack):
    attacks.check_attack(attack)


@pytest.mark.parametrize(
    "attack, message",
    [
        (None, "received None, which cannot be called. Pass"),
        (ca.PGD, r"received the class PGD. Pass an instance of it: PGD\("),
        (shift, "received value_range=None of <function shift"),
        (with_range(functools.partial(shift), 1.0), "value_range=1.0 of"),
        (with_range(functools.partial(shift), (1, 0)), r"=\(1, 0\) of .* Set"),
        (
            with_range(lambda network, x, y, rng, loss=None: x),
            r"\(network, x, y, rng, loss=None\): .*'(rng|seed)'.* Write it",
        ),
        (
            with_range(lambda network, x, y, seed: x),
            r"\(network, x, y, seed\): .*'loss'.* Write it as __call__",
        ),
        (
            with_range(lambda x, y, seed, loss=None: x),
            r"\(x, y, seed, loss=None\): multiple values .*'seed'",
        ),
        (
            with_range(functools.partial(shift, None)),
            "multiple values .*'seed'",
        ),
    ],
    # Representations of functions differ between test processes.
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_custom_attacks_are_refused(attack, message):
    with pytest.raises(ValueError, match=message):
        attacks.check_attack(attack)


# The error named a variable of the package.
@pytest.mark.parametrize(
    "result, message",
    [
        (lambda x: None, "None"),
        (lambda x: x[..., :0], r"float32 and shape \((\w+, )+0\)"),
        (lambda x: tf.cast(x, tf.float64), r"float64 and shape \(\w+, 2, 2"),
    ],
    ids=["None", "shape", "dtype"],
)
def test_adversarial_images_unlike_the_images_are_refused(result, message):
    attack = with_range(lambda network, x, y, seed, loss: result(x))
    model = ca.ConAdvModel(networks.linear(), attack, step=ca.Sequential())
    model.compile("sgd", networks.LOSS)
    expected = r"float32 and shape \(\w+, .*<lambda>.* received .*"
    with pytest.raises(ValueError, match=expected + message):
        model.train_on_batch(*networks.batch())
