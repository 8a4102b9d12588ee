"""Options of the training steps: values, combinations, configuration."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import steps
from tests import networks

OPTIONS = {
    ca.Plain: {"microbatches"},
    ca.Sequential: {"microbatches", "fraction", "weight"},
    ca.Concurrent: {"microbatches", "fraction", "weight", "staleness"},
    ca.SharedPass: {"fraction", "weight", "replace_clean"},
    ca.RotatingRoles: {"weight"},
}
WRONG_VALUES = {
    "fraction": [0, 1.5, -0.1, True, "half", math.nan],
    "microbatches": [0, 2.0, True],
    "staleness": [0, -1, 0.5, True],
    "weight": [-0.5, math.inf, math.nan, True, "1"],
}
# Values that are not the defaults.
STEPS = [
    ca.Plain(microbatches=2),
    ca.Sequential(microbatches=2, fraction=0.5, weight=3.0),
    ca.Concurrent(staleness=2, microbatches=4, fraction=0.25, weight=0),
    ca.SharedPass(fraction=0.5, weight=2.0, replace_clean=False),
    ca.RotatingRoles(weight=0.5),
]


@pytest.mark.parametrize("step_class", OPTIONS)
def test_a_step_has_only_its_own_options(step_class):
    fields = {field.name for field in dataclasses.fields(step_class)}
    assert fields == OPTIONS[step_class]
    for name in set.union(*OPTIONS.values()) - fields:
        with pytest.raises(TypeError, match=f"keyword argument '{name}'"):
            step_class(**{name: 1})
    with pytest.raises(TypeError, match="positional"):
        step_class(1)


@pytest.mark.parametrize(
    "step_class, name, value",
    [
        (step_class, name, value)
        for step_class, names in OPTIONS.items()
        for name in sorted(names & set(WRONG_VALUES))
        for value in WRONG_VALUES[name]
    ],
)
def test_wrong_values(step_class, name, value):
    message = rf"Expected {name} .*received {re.escape(repr(value))}\."
    with pytest.raises(ValueError, match=message):
        step_class(**{name: value})


@pytest.mark.parametrize(
    "step_class, options, message",
    [
        (ca.Concurrent, {"staleness": 0}, r"current weights.*ca.Sequential\("),
        (ca.SharedPass, {"weight": 0}, "weight > 0.*received 0.*attack=None"),
        (ca.SharedPass, {"replace_clean": "no"}, "True or False.*'no'"),
        (
            ca.SharedPass,
            {"fraction": 1},
            "fraction < 1.*no clean image.*replace_clean=False",
        ),
    ],
)
def test_values_that_exclude_each_other(step_class, options, message):
    with pytest.raises(ValueError, match=message):
        step_class(**options)


class OnlyCallable:
    """An attack without the methods `initial_points` and `apply_gradient`."""

    value_range = (0.0, 1.0)

    def __call__(self, network, images, labels, seed, loss=None):
        return images


def wrong_signature(network, images, labels):
    return images


wrong_signature.value_range = (0.0, 1.0)


def synchronized():
    inputs = tf.keras.Input((4,))
    layer = tf.keras.layers.BatchNormalization(synchronized=True, name="sync")
    return tf.keras.Model(inputs, tf.keras.layers.Dense(3)(layer(inputs)))


@pytest.mark.parametrize(
    "step, arguments, message",
    [
        *(
            (
                step,
                {"attack": None},
                rf"an attack with step={type(step).__name__}\(\.\.\.\).*"
                r"received attack=None.*step=ca\.Plain\(\)",
            )
            for step in STEPS[1:]
        ),
        (
            ca.Plain(),
            {},
            r"attack=None with step=Plain\(.*received FGSM\(.*Concurrent\(\)",
        ),
        (
            ca.Plain(),
            {"attack": None, "views": 2},
            "views=1 without an attack; received views=2",
        ),
        (
            ca.RotatingRoles(),
            {"views": 2},
            r"views=1 .*RotatingRoles\(\).*received views=2",
        ),
        (
            ca.RotatingRoles(),
            {"network": synchronized},
            r"received \['sync'\].*synchronized=False",
        ),
        (
            ca.SharedPass(),
            {"attack": OnlyCallable()},
            r"initial_points\(images, seed\) and apply_gradient.*received <",
        ),
        (
            ca.SharedPass(),
            {"attack": ca.PGD(0.1, num_steps=3)},
            "num_steps=1 .*received num_steps=3.*takes it",
        ),
        (
            ca.SharedPass(),
            {"attack": ca.ScheduledAttack(ca.PGD(0.1, num_steps=2), abs)},
            "num_steps=1 .*received num_steps=2",
        ),
        (
            ca.SharedPass(),
            {"attack": ca.PGD(0.1, targeted="random")},
            "targeted=None .*received targeted='random'",
        ),
        ("shared", {}, "step to be a ca.Step.*received 'shared'"),
        (ca.SharedPass, {}, "step to be a ca.Step.*received <class"),
        *(
            (
                step,
                {"attack": wrong_signature},
                r"received <function wrong_signature .*\(network, images, labe",
            )
            for step in (None, ca.SharedPass())
        ),
    ],
)
def test_arguments_that_do_not_fit(step, arguments, message):
    network = arguments.pop("network", networks.small)()
    arguments = {"attack": ca.FGSM(0.1), **arguments}
    with pytest.raises(ValueError, match=message):
        ca.ConAdvModel(network, step=step, **arguments)


def test_default_steps():
    network = networks.linear()
    assert ca.ConAdvModel(network, None).step == ca.Plain()
    assert ca.ConAdvModel(network, ca.FGSM(0.1)).step == ca.Concurrent()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_config_round_trip(step):
    attack = ca.FGSM(0.1) if step.requires_attack else None
    model = ca.ConAdvModel(networks.linear(), attack, step=step, seed=3)
    again = ca.ConAdvModel.from_config(model.get_config())
    config = json.loads(json.dumps(steps.serialize(step)))
    for copy in (again.step, steps.deserialize(config)):
        assert copy == step and repr(copy) == repr(step)
        assert copy != type(step)()
    assert (again.seed, again.views) == (3, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        step.weight = 1.0


def test_configs_of_older_versions_are_refused():
    config = ca.ConAdvModel(networks.linear(), ca.FGSM(0.1)).get_config()
    config["staleness"] = config.pop("step")
    with pytest.raises(ValueError, match="with a step; received .*'staleness'"):
        ca.ConAdvModel.from_config(config)


def test_numpy_scalars_become_numbers():
    step = ca.Concurrent(staleness=np.int64(2), fraction=np.float32(0.5))
    assert step == ca.Concurrent(staleness=2, fraction=0.5)
    assert type(step.staleness) is int and type(step.fraction) is float
