"""The tools that report what the TPU compiler says, without that compiler."""

import json
import pathlib
import subprocess
import sys
import types

import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks
from tools import step_export
from tools import tpu_compiler
from tools import tpu_cycles
from tools import tpu_kernels
from tools import tpu_steps
from tools import tpu_tables

# As libtpu prints it, shortened: tuples, layouts with brackets, a fusion in a
# fusion, conditionals and a loop.
MODULE = (
    pathlib.Path(__file__).parent / "testdata" / "step.hlo.txt"
).read_text()


# --- Reading a module ---------------------------------------------------------


def test_parse_reads_names_shapes_and_calls():
    entry, computations = tpu_cycles.parse(MODULE)
    assert entry == "main.9"
    fusion = {each.name: each for each in computations[entry]}["fusion.2"]
    assert fusion == tpu_cycles.Instruction(
        "fusion.2",
        "(f32[4]{0:T(256)}, /*index=1*/f32[4]{0:T(256)})",
        "fusion",
        "gradient_tape/attack/net/conv",
        1000,
        (("calls", "fused.1"),),
        1,
    )


def test_costs_follow_one_run_of_the_module():
    found = tpu_cycles.costs(MODULE)
    # One branch of each conditional, four trips; nothing from inside fusions.
    assert [(c.instruction.name, c.cycles) for c in found] == [
        ("fusion.2", 1000),
        ("fusion.3", 200),
        ("copy.2", 30),
        ("copy.2", 30),
        ("neg", 28),
    ]
    assert tpu_cycles.by(found, "kind") == {
        "convolution + split/concat": 1000,
        "reduction": 200,
        "copy": 60,
        "elementwise": 28,
    }
    assert tpu_cycles.by(found, "part") == {
        "attack": 1000,
        "update": 200,
        "other": 88,
    }


def test_no_module_and_no_estimates():
    with pytest.raises(ValueError, match="ENTRY.*received 'nothing'"):
        tpu_cycles.costs("nothing")
    assert tpu_cycles.costs("ENTRY %main (x: f32[]) -> f32[] {\n}\n") == []


# --- Tables -------------------------------------------------------------------


def facts(device="TPU v3"):
    return {
        "device": device,
        "flops": 2e9,
        "bytes_accessed": None,
        "argument_bytes": 30_000_000,
        "output_bytes": 25_000_000,
        "alias_bytes": 20_000_000,
        "temporary_bytes": 5_000_000,
        "code_bytes": 1,
        "compile_seconds": 3.0,
    }


def row(method="conadv", batch_size=8, device="TPU v3"):
    found = tpu_cycles.costs(MODULE)
    return tpu_tables.summary(method, batch_size, facts(device), found)


def test_summary_counts_memory_once_and_uses_the_clock():
    assert row() == {
        "method": "conadv",
        "batch_size": 8,
        "device": "TPU v3",
        "cycles": 1288,
        "estimated_ms": pytest.approx(1288 / 940e6 * 1e3),
        "gflops": 2.0,
        "gigabytes_accessed": None,
        "peak_megabytes": 40.0,
        "compile_seconds": 3.0,
    }
    assert row(device="TPU v9")["estimated_ms"] is None
    empty = tpu_tables.summary("conadv", 8, facts(), [])
    assert empty["cycles"] is None and empty["estimated_ms"] is None


def test_relative_is_to_the_baseline_of_the_same_batch():
    plain = {**row("baseline"), "cycles": 644}
    rows = tpu_tables.with_relative([row(), plain, row(batch_size=4)])
    assert [each["relative"] for each in rows] == [2.0, 1.0, None]
    lines = tpu_tables.methods_table(rows).splitlines()
    assert lines[0].startswith("| method | batch_size |")
    assert "| conadv | 8 | TPU v3 | 1,288 | 2.00 |" in lines[2]
    assert "| - |" in lines[4]


def test_details_name_parts_kinds_and_the_dearest():
    found = tpu_cycles.costs(MODULE)
    text = tpu_steps.details_text("conadv", 8, found, 1)
    assert "| attack | 1,000 | 77.64 |" in text
    assert "| reduction | 200 | 15.53 |" in text
    assert "fusion.2" in text and "fusion.3" not in text
    assert "estimates no cycles" in tpu_steps.details_text("x", 8, [], 1)


# --- Kernels ------------------------------------------------------------------


def test_missing_kernels_are_named_with_their_types():
    kernels = {
        "Conv2D": [{"T": ["int32"]}, {"T": ["float32", "bfloat16"]}],
        "NoOp": [{}],
    }
    operations = [
        ["Conv2D", {"T": ["bfloat16"]}],
        ["Conv2D", {"T": ["float64"]}],
        ["AsString", {"T": ["float32"]}],
        ["NoOp", {}],
    ]
    absent = tpu_kernels.missing(operations, kernels)
    assert absent == operations[1:3]
    text = tpu_steps.kernels_text("conadv", 8, absent)
    assert "no TPU kernel for Conv2D {'T': ['float64']}, AsString" in text
    assert "all operations" in tpu_steps.kernels_text("conadv", 8, [])


# --- Lowering -----------------------------------------------------------------


@pytest.mark.parametrize("method", step_export.METHODS)
def test_every_step_lowers_with_static_shapes(method):
    function, specs = step_export.step_function(
        networks.convolutional(), method, 4, ca.PGD(0.1)
    )
    # A name scope tells the attack from the update.
    assert (b"attack/" in step_export.hlo(function, specs)) == (
        method not in ("baseline", "phased_adversarial", "phased_clean")
    )
    names = {name for name, _ in step_export.operations(function, specs)}
    assert {"Conv2D", "ReadVariableOp"} <= names
    assert "Placeholder" not in names


# With a constant seed the compiler folded away most of the random draws, and
# the attack alone looked cheaper than in a step.
def test_attack_alone_takes_its_seed():
    _, specs = step_export.step_function(
        networks.linear(), "attack", 4, ca.PGD(0.1)
    )
    assert specs[-1] == tf.TensorSpec([2], tf.int64)


# Beside these, test_oracle runs tau 0, 1 and 2 and two views under XLA.
@pytest.mark.parametrize("method, staleness", [("disadv", 1), ("conadv", 2)])
def test_two_views_lower(method, staleness):
    function, specs = step_export.step_function(
        networks.convolutional(), method, 4, ca.PGD(0.1), staleness, views=2
    )
    assert len(specs) == 3
    step_export.hlo(function, specs)


def test_operations_hold_those_of_called_functions_once():
    @tf.function
    def step(x):
        x = tf.cond(x[0] > 0, lambda: tf.sin(x), lambda: x + 1)
        return tf.sin(x)

    found = step_export.operations(step, [tf.TensorSpec([2])])
    assert found.count(("Sin", {"T": ["float32"]})) == 1
    assert ("AddV2", {"T": ["float32"]}) in found


def test_unknown_method_is_named():
    with pytest.raises(ValueError, match="received 'fast'"):
        step_export.step_function(networks.linear(), "fast", 4, ca.PGD(0.1))


# --- The command --------------------------------------------------------------


@pytest.mark.parametrize("python", [None, "/nowhere/python"])
def test_missing_environment_says_how_to_make_one(python):
    with pytest.raises(ValueError, match="received .*") as error:
        tpu_steps.check_python(python, "--python", tpu_compiler.REQUIREMENTS)
    assert repr(python) in str(error.value)
    assert "pip install jax==" in str(error.value)


@pytest.mark.slow
def test_missing_environment_is_made_on_request(tmp_path, capsys):
    python = tmp_path / "env" / "bin" / "python"
    tpu_steps.check_python(str(python), "--python", "pip", create=True)
    assert python.is_file()
    assert f"making {tmp_path / 'env'} with pip" in capsys.readouterr().out
    other = str(tmp_path / "other" / "bin" / "python")
    with pytest.raises(ValueError, match="install ./nowhere failed: .*nowhere"):
        tpu_steps.check_python(other, "--python", "./nowhere", create=True)


@pytest.mark.parametrize(
    "name, arguments, remedy",
    [
        ("tpu_compiler", ("v3:2x2", "step", "out"), tpu_compiler.REQUIREMENTS),
        ("tpu_kernels", ("operations", "out"), tpu_kernels.REQUIREMENTS),
    ],
)
def test_environment_without_packages(tmp_path, name, arguments, remedy):
    (tmp_path / "step").write_bytes(b"")
    (tmp_path / "operations").write_text("[]")
    # Without any package: -S leaves out site-packages.
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    topology, *paths = arguments if len(arguments) == 3 else ("", *arguments)
    paths = [tmp_path / path for path in paths]
    given = [topology, *paths] if topology else paths
    with pytest.raises(ValueError, match=f"install {remedy}"):
        tpu_steps.run_tool(str(python), name, *given)


def options(python, output_dir, placement="local", methods=("conadv",)):
    return tpu_steps.Options(
        python,
        python,
        False,
        "resnet_cifar8",
        8,
        ["baseline", *methods],
        [8],
        placement,
        1,
        1,
        "float32",
        "v3:2x2",
        3,
        output_dir,
    )


@pytest.fixture
def compiler(monkeypatch):
    """Stands for the TPU compiler: every step becomes the same module."""

    def run(command, **kwargs):
        output = pathlib.Path(command[-1])
        if "tpu_kernels" in command[1]:
            output.write_text("[]")
        else:
            output.with_name(output.name + ".json").write_text(
                json.dumps(facts())
            )
            output.with_name(output.name + ".hlo.txt").write_text(MODULE)
        return types.SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(tpu_steps, "export", lambda *arguments: None)


def test_report_writes_tables(tmp_path, compiler, capsys):
    tpu_steps.report(options(sys.executable, str(tmp_path)))
    printed = capsys.readouterr().out
    assert "| conadv | 8 | TPU v3 | 1,288 | 1.00 |" in printed
    markdown = (tmp_path / "report.md").read_text()
    assert "conadv, 8 images: all operations have a TPU kernel" in markdown
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["options"]["topology"] == "v3:2x2"
    assert [each["relative"] for each in written["steps"]] == [1.0, 1.0]
    assert (tmp_path / "report.csv").read_text().count("\n") == 3
    assert (tmp_path / "throughput.png").read_bytes().startswith(b"\x89PNG")


def test_longest_phase_against_disadv():
    cycles = dict(zip(tpu_tables.PHASES, (120, 100, 90)))
    cycles.update(baseline=100, disadv=300)
    text = tpu_tables.longest_phases(
        [
            {"method": method, "batch_size": 8, "cycles": count}
            for method, count in cycles.items()
        ]
    )
    assert "120 cycles, 1.20 of the baseline; with three times" in text
    # As many images in a step, which takes 120 instead of 300 cycles.
    assert "2.50 times the throughput of DisAdv." in text


# A step is as long as the longest phase, on three times the replicas.
def test_report_of_phases(tmp_path, compiler, capsys):
    python, methods = sys.executable, ("disadv", "conadv")
    tpu_steps.report(options(python, str(tmp_path), "phased", methods))
    printed = capsys.readouterr().out
    assert "| phased_attack | 8 | TPU v3 | 1,288 | 1.00 |" in printed
    assert "| conadv |" not in printed
    assert (
        "8 images, longest phase: 1,288 cycles, 1.00 of the baseline; with "
        "three times the replicas and the same global batch 1.00 times the "
        "throughput of DisAdv."
    ) in printed


def test_longest_phase():
    rows = [
        {"method": method, "batch_size": size, "cycles": cycles}
        for size, *all_cycles in ((8, 10, 9, 12, 11), (4, 5, None, 6, 6))
        for method, cycles in zip(("baseline", *tpu_tables.PHASES), all_cycles)
    ]
    assert tpu_tables.longest_phases(rows) == (
        "\n8 images, longest phase: 12 cycles, 1.20 of the baseline.\n"
    )
    assert tpu_tables.longest_phases(rows[:1]) == ""


def test_command_without_environment_ends_with_the_remedy():
    script = pathlib.Path(__file__).parents[1] / "tools" / "tpu_report.py"
    result = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("error: Expected --python")
