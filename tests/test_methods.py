"""Methods beside the paper's: what they set, and their names."""

import pytest

from experiments.sweeps import axes
from experiments.sweeps import grid


# Of another fraction it is the paper's method, changed.
def test_methods_that_attack_a_quarter():
    names = ["conadv_quarter", "conadv_shared", "conadv_shared_instead"]
    rows = grid.rows("", names, [64])
    assert [row.method for row in rows] == names
    settings = [
        (c.adversarial_fraction, c.attack_pass, c.start_replaces_clean)
        for c in (row.config for row in rows)
    ]
    assert settings == [
        (0.25, "own", False),
        (0.25, "shared", False),
        (0.25, "shared", True),
    ]
    (row,) = grid.rows("digits_432_conadv_shared")
    assert (row.method, row.config.attack_pass) == (names[1], "shared")
    (row,) = grid.rows("", ["conadv"], [64], ["adversarial_fraction=0.5"])
    assert row.method == "conadv"
    # A report compares it with the row that it changes, by the method.
    rows = grid.rows("", ["conadv"], [64])
    _, changed = axes.with_variants(rows, ["adversarial_fraction=0.25"])
    assert grid.method_name(changed.config) == "conadv_quarter"
    assert changed.method == "conadv"
    with pytest.raises(ValueError, match="=0.25 with method conadv_quarter.*5"):
        grid.rows(
            "", ["baseline", names[0]], [64], ["adversarial_fraction=0.5"]
        )
    with pytest.raises(
        ValueError, match="64_conadv and .*quarter are the same"
    ):
        grid.rows("", ["conadv", names[0]], [64], ["adversarial_fraction=0.25"])
