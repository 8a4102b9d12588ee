"""What configurations accept is what the library accepts.

The configuration repeats names and options of the library, because importing
the library takes seconds.
"""

import dataclasses

import pytest

import conadv_tf as ca
from conadv_tf.attacks import attack_ops
from conadv_tf.networks import BATCH_NORM_MOMENTUM
from experiments import build
from experiments import config as config_lib
from experiments import methods
from experiments import networks
from experiments import steps
from experiments.presets import catalog
from experiments.presets import paper
from tools.step import methods as measured
from tools.step import variants


def test_names():
    assert config_lib.DATASETS == ca.data.NAMES
    assert set(config_lib.AUTO_AUGMENT) == set(build.POLICIES)
    assert set(config_lib.AUGMENTATIONS) == {
        *build.POLICIES,
        *ca.data.AUGMENTATIONS,
    }
    assert config_lib.MIXING == ca.data.MIXING
    assert config_lib.STRATEGIES == ca.distribution.NAMES
    norm = config_lib.AttackConfig.__dataclass_fields__["norm"]
    assert norm.metadata["values"] == attack_ops.NORMS
    assert networks.RESNET_DEPTHS == ca.networks.RESNET_DEPTHS
    assert networks.VARIANTS == ca.networks.EFFICIENTNET_VARIANTS
    assert measured.VARIANTS == tuple(variants._BUILDERS)
    assert catalog._BATCH_NORM_MOMENTUM == BATCH_NORM_MOMENTUM


def test_rates_of_the_paper():
    for name, size in paper.BATCH_SIZES.items():
        rate = ca.scaling_rule(size)
        found = rate.base_learning_rate, rate.warmup_epochs
        assert paper.RATES[name] == found


@pytest.mark.parametrize("method", methods.STEP_CLASSES)
def test_steps_have_the_options_of_the_library(method):
    options = methods.STEP_CLASSES[method]()
    step = build.step(options)
    assert type(step).__name__ == type(options).__name__
    assert {
        (field.name, field.type, field.default)
        for field in dataclasses.fields(options)
    } == {
        (field.name, field.type, field.default)
        for field in dataclasses.fields(step)
    }
    for name in ("requires_attack", "staleness", "fraction", "microbatches"):
        assert getattr(options, name) == getattr(step, name), name


# Each option at and beyond the ends of its range.
@pytest.mark.parametrize("method", methods.STEP_CLASSES)
def test_steps_accept_the_values_that_the_library_accepts(method):
    options_class = methods.STEP_CLASSES[method]
    changes = [
        {field.name: value}
        for field in dataclasses.fields(options_class)
        for value in (-1, 0, 0.5, 1, 2, float("nan"), True, None)
    ]
    if options_class is steps.SharedPass:
        changes.append({"replace_clean": False, "fraction": 1})
    for change in changes:
        accepted = []
        for make in (options_class, getattr(ca, options_class.__name__)):
            try:
                make(**change)
                accepted.append(True)
            except ValueError:
                accepted.append(False)
        assert accepted[0] == accepted[1], change
