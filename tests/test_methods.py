"""Settings of the methods that the paper does not have, and method names."""

import pytest

from experiments import config as config_lib
from experiments import config_fields
from experiments import steps
from experiments.sweeps import axes
from experiments.sweeps import grid


# Any other fraction is a change of the paper's method.
def test_methods_that_attack_a_quarter():
    names = ["conadv_quarter", "shared_pass", "shared_pass_keep_clean"]
    specs = grid.make_specs("", names, [64])
    assert [spec.method for spec in specs] == names
    assert [spec.config.step for spec in specs] == [
        steps.Concurrent(fraction=0.25),
        steps.SharedPass(fraction=0.25, replace_clean=True),
        steps.SharedPass(fraction=0.25, replace_clean=False),
    ]
    (spec,) = grid.make_specs("digits_432_shared_pass")
    assert (spec.method, spec.config.step) == (names[1], steps.SharedPass())
    (spec,) = grid.make_specs("", ["conadv"], [64], ["step.fraction=0.5"])
    assert spec.method == "conadv"
    # A report compares a variant with the run that it changes, by the method.
    specs = grid.make_specs("", ["conadv"], [64])
    _, changed = axes.with_variants(specs, ["step.fraction=0.25"])
    assert grid.method_name(changed.config) == "conadv_quarter"
    assert changed.method == "conadv"
    with pytest.raises(ValueError, match="=0.25 with method conadv_quarter.*5"):
        grid.make_specs("", ["baseline", names[0]], [64], ["step.fraction=0.5"])
    with pytest.raises(
        ValueError, match="64_conadv and .*quarter are the same"
    ):
        grid.make_specs("", ["conadv", names[0]], [64], ["step.fraction=0.25"])


@pytest.mark.parametrize(
    "changes, name",
    [
        (("baseline", None), "baseline"),
        (("baseline", "autoaugment_cifar"), "aa"),
        (("conadv", "autoaugment_digits"), "conadv_aa"),
        (("disadv", "autoaugment"), "disadv_aa"),
        (("baseline", "mixup"), "baseline_mixup"),
        (
            ("shared_pass", "autoaugment", steps.SharedPass()),
            "shared_pass_aa",
        ),
        (
            ("conadv", "autoaugment", steps.Concurrent(fraction=0.5)),
            "conadv_aa",
        ),
        (("rotating_roles",), "rotating_roles"),
    ],
)
def test_method_names(changes, name):
    keys = "method", "augmentation", "step"
    config = config_lib.RunConfig(**dict(zip(keys, changes)))
    assert grid.method_name(config) == name


# Other errors of a step have nothing to do with the method.
@pytest.mark.parametrize(
    "option, is_named", [("weight=-1", False), ("staleness=0", True)]
)
def test_an_error_that_names_a_step_names_the_method(option, is_named):
    with pytest.raises(ValueError) as error:
        config_fields.override(config_lib.RunConfig(), [f"step.{option}"])
    assert ("--method=disadv" in str(error.value)) == is_named
