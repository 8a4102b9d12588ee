"""Settings of the methods that the paper does not have, and method names."""

import pytest

from experiments import config as config_lib
from experiments.sweeps import axes
from experiments.sweeps import grid


# Any other adversarial fraction is a change of the paper's method.
def test_methods_that_attack_a_quarter():
    names = ["conadv_quarter", "conadv_shared", "conadv_shared_instead"]
    specs = grid.make_specs("", names, [64])
    assert [spec.method for spec in specs] == names
    settings = [
        (c.adversarial_fraction, c.attack_pass, c.start_replaces_clean)
        for c in (spec.config for spec in specs)
    ]
    assert settings == [
        (0.25, "own", False),
        (0.25, "shared", False),
        (0.25, "shared", True),
    ]
    (spec,) = grid.make_specs("digits_432_conadv_shared")
    assert (spec.method, spec.config.attack_pass) == (names[1], "shared")
    (spec,) = grid.make_specs(
        "", ["conadv"], [64], ["adversarial_fraction=0.5"]
    )
    assert spec.method == "conadv"
    # A report compares a variant with the run that it changes, by the method.
    specs = grid.make_specs("", ["conadv"], [64])
    _, changed = axes.with_variants(specs, ["adversarial_fraction=0.25"])
    assert grid.method_name(changed.config) == "conadv_quarter"
    assert changed.method == "conadv"
    with pytest.raises(ValueError, match="=0.25 with method conadv_quarter.*5"):
        grid.make_specs(
            "", ["baseline", names[0]], [64], ["adversarial_fraction=0.5"]
        )
    with pytest.raises(
        ValueError, match="64_conadv and .*quarter are the same"
    ):
        grid.make_specs(
            "", ["conadv", names[0]], [64], ["adversarial_fraction=0.25"]
        )


@pytest.mark.parametrize(
    "changes, name",
    [
        (("baseline", None), "baseline"),
        (("baseline", "autoaugment_cifar"), "aa"),
        (("conadv", "autoaugment_digits"), "conadv_aa"),
        (("disadv", "autoaugment"), "disadv_aa"),
        (("baseline", "mixup"), "baseline_mixup"),
        (("conadv", "autoaugment", 0.25, "shared"), "conadv_shared_aa"),
        (("conadv", "autoaugment", 0.5), "conadv_aa"),
    ],
)
def test_method_names(changes, name):
    keys = "method", "augmentation", "adversarial_fraction", "attack_pass"
    config = config_lib.RunConfig(**dict(zip(keys, changes)))
    assert grid.method_name(config) == name
