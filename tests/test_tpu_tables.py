"""Parsing of a module of the TPU compiler; tables and plot of its estimates."""

import pytest

from tests.tpu_module import facts
from tests.tpu_module import MODULE
from tools.tpu import cycles
from tools.tpu import figure
from tools.tpu import kernels
from tools.tpu import tables
from tools.tpu.export import METHODS
from tools.tpu.export import ROLES

# --- Reading a module ---------------------------------------------------------


def test_parse_reads_names_shapes_and_calls():
    entry, computations = cycles.parse(MODULE)
    assert entry == "main.9"
    fusion = {each.name: each for each in computations[entry]}["fusion.2"]
    assert fusion == cycles.Instruction(
        "fusion.2",
        "(f32[4]{0:T(256)}, /*index=1*/f32[4]{0:T(256)})",
        "fusion",
        "gradient_tape/attack/net/conv",
        1000,
        (("calls", "fused.1"),),
        1,
    )


def test_estimates_follow_one_run_of_the_module():
    found = cycles.estimates(MODULE)
    # One branch of each conditional, four iterations of the loop, and no
    # instruction inside a fusion.
    assert [(each.instruction.name, each.cycles) for each in found] == [
        ("fusion.2", 1000),
        ("fusion.3", 200),
        ("copy.2", 30),
        ("copy.2", 30),
        ("neg", 28),
    ]
    assert cycles.cycles_by(found, "kind") == {
        "convolution + split/concat": 1000,
        "reduction": 200,
        "copy": 60,
        "elementwise": 28,
    }
    assert cycles.cycles_by(found, "part") == {
        "attack": 1000,
        "update": 200,
        "other": 88,
    }


def test_text_without_a_module_is_refused_and_estimates_may_be_missing():
    with pytest.raises(ValueError, match="ENTRY.*received 'nothing'"):
        cycles.estimates("nothing")
    assert cycles.estimates("ENTRY %main (x: f32[]) -> f32[] {\n}\n") == []


def row(method="conadv", batch_size=8, device="TPU v3"):
    found = cycles.estimates(MODULE)
    return tables.summary(method, batch_size, facts(device), found)


def test_summary_counts_memory_once_and_uses_the_clock():
    assert row() == {
        "method": "conadv",
        "batch_size": 8,
        "device": "TPU v3",
        "cycles": 1288,
        "relative": None,
        "estimated_ms": pytest.approx(1288 / 940e6 * 1e3),
        "gflops": 2.0,
        "gigabytes_accessed": None,
        "peak_megabytes": 40.0,
        "compile_seconds": 3.0,
    }
    assert row(device="TPU v9")["estimated_ms"] is None
    empty = tables.summary("conadv", 8, facts(), [])
    assert empty["cycles"] is None and empty["estimated_ms"] is None


def test_relative_is_to_the_baseline_of_the_same_batch():
    plain = {**row("baseline"), "cycles": 644}
    rows = tables.with_relative([row(), plain, row(batch_size=4)])
    assert [each["relative"] for each in rows] == [2.0, 1.0, None]
    lines = tables.methods_table(rows).splitlines()
    assert lines[0].startswith("| method | batch_size |")
    assert "| conadv | 8 | TPU v3 | 1,288 | 2.00 |" in lines[2]
    assert "| - |" in lines[4]


def test_details_list_parts_kinds_and_the_most_expensive_instruction():
    found = cycles.estimates(MODULE)
    text = tables.details("conadv", 8, found, 1)
    assert "| attack | 1,000 | 77.64 |" in text
    assert "| reduction | 200 | 15.53 |" in text
    assert "fusion.2" in text and "fusion.3" not in text
    assert "estimates no cycles" in tables.details("x", 8, [], 1)


def test_longest_role_is_compared_with_disadv():
    counts = dict(zip(ROLES, (120, 100, 90)))
    counts.update(baseline=100, disadv=300)
    text = tables.longest_roles(
        [
            {"method": method, "batch_size": 8, "cycles": count}
            for method, count in counts.items()
        ]
    )
    assert "120 cycles, 1.20 of the baseline; with three times" in text
    # A step has as many images and takes 120 instead of 300 cycles.
    assert "2.50 times the throughput of DisAdv." in text


def test_longest_role_is_compared_with_the_baseline():
    rows = [
        {"method": method, "batch_size": size, "cycles": count}
        for size, *counts in ((8, 10, 9, 12, 11), (4, 5, None, 6, 6))
        for method, count in zip(("baseline", *ROLES), counts)
    ]
    assert tables.longest_roles(rows) == (
        "\n8 images, longest role: 12 cycles, 1.20 of the baseline.\n"
    )
    assert tables.longest_roles(rows[:1]) == ""


# --- Kernels ------------------------------------------------------------------


def test_missing_kernels_are_named_with_their_types():
    known = {
        "Conv2D": [{"T": ["int32"]}, {"T": ["float32", "bfloat16"]}],
        "NoOp": [{}],
    }
    operations = [
        ["Conv2D", {"T": ["bfloat16"]}],
        ["Conv2D", {"T": ["float64"]}],
        ["AsString", {"T": ["float32"]}],
        ["NoOp", {}],
    ]
    absent = kernels.missing(operations, known)
    assert absent == operations[1:3]
    text = tables.kernels("conadv", 8, absent)
    assert "no TPU kernel for Conv2D {'T': ['float64']}, AsString" in text
    assert "all operations" in tables.kernels("conadv", 8, [])


# --- Plot ---------------------------------------------------------------------


def timed(method, size, milliseconds):
    return {
        "method": method,
        "batch_size": size,
        "estimated_ms": milliseconds,
    }


ROWS = [
    timed("baseline", 64, 80.0),
    timed("attack", 64, 10.0),
    timed("disadv", 64, 200.0),
    timed("role_attack", 64, 100.0),
    timed("role_clean", 64, 90.0),
    timed("conadv", 2, 4.0),
    timed("conadv", 7, None),
]


def test_throughput_is_images_of_all_cores_over_the_time_of_one():
    panels = figure.bars(ROWS)
    assert list(panels) == [64, 2]
    plain, disadv, roles = panels[64]
    assert plain == figure.Bar("baseline", 512, 32768, 409.6, None)
    assert disadv.published == 81.7
    # The longest role determines the time, on three times the cores.
    assert (roles.cores, roles.images) == (1536, 32768)
    assert roles.estimated == pytest.approx(327.68)
    assert panels[2] == [figure.Bar("conadv", 1024, 2048, 512.0, 71.3)]


def test_every_step_except_the_attack_alone_has_a_bar():
    (drawn,) = figure.bars([timed(each, 8, 1.0) for each in METHODS]).values()
    assert {bar.method for bar in drawn} == set(METHODS) - {"attack"}


def test_plot_is_a_png_file(tmp_path):
    path = tmp_path / "throughput.png"
    figure.draw(figure.bars(ROWS), "TPU v3", path)
    assert path.read_bytes().startswith(b"\x89PNG")
