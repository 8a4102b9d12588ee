"""tools/tpu_report.py, with a fake TPU compiler."""

import json
import pathlib
import subprocess
import sys
import types

import pytest

from tests.tpu_module import facts
from tests.tpu_module import MODULE
from tools.tpu import compiler
from tools.tpu import kernels
from tools.tpu import report
from tools.tpu import tables


@pytest.mark.parametrize("python", [None, "/nowhere/python"])
def test_missing_environment_is_refused_with_the_remedy(python):
    with pytest.raises(ValueError, match="received .*") as error:
        report.check_python(python, "--python", compiler.REQUIREMENTS)
    assert repr(python) in str(error.value)
    assert "pip install jax==" in str(error.value)


@pytest.mark.slow
def test_missing_environment_is_created_on_request(tmp_path, capsys):
    python = tmp_path / "env" / "bin" / "python"
    report.check_python(str(python), "--python", "pip", create=True)
    assert python.is_file()
    assert f"creating {tmp_path / 'env'} with pip" in capsys.readouterr().out
    other = str(tmp_path / "other" / "bin" / "python")
    with pytest.raises(ValueError, match="install ./nowhere failed: .*nowhere"):
        report.check_python(other, "--python", "./nowhere", create=True)


@pytest.mark.parametrize(
    "name, arguments, remedy",
    [
        ("compiler", ("v3:2x2", "step", "out"), compiler.REQUIREMENTS),
        ("kernels", ("operations", "out"), kernels.REQUIREMENTS),
    ],
)
def test_environment_without_packages_is_refused_with_the_remedy(
    tmp_path, name, arguments, remedy
):
    (tmp_path / "step").write_bytes(b"")
    (tmp_path / "operations").write_text("[]")
    # -S excludes site-packages, so that no package is found.
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    topology, *paths = arguments if len(arguments) == 3 else ("", *arguments)
    paths = [tmp_path / path for path in paths]
    given = [topology, *paths] if topology else paths
    with pytest.raises(ValueError, match=f"install {remedy}"):
        report.run_script(str(python), name, *given)


def options(python, output_dir, methods=("conadv",), earlier=()):
    """The flags that the report reads without exporting or compiling."""
    return types.SimpleNamespace(
        python=python,
        kernels_python=python,
        create_environments=False,
        network="resnet_cifar8",
        method=["baseline", *methods],
        batch_size=[8],
        earlier=earlier,
        topology="v3:2x2",
        num_instructions=3,
        output_dir=output_dir,
    )


@pytest.fixture
def fake_compiler(monkeypatch):
    """Replaces the TPU compiler: every step compiles to the same module."""

    def run(command, **kwargs):
        output = pathlib.Path(command[-1])
        if command[2].endswith("kernels.py"):
            output.write_text("[]")
        else:
            output.with_name(output.name + ".json").write_text(
                json.dumps(facts())
            )
            output.with_name(output.name + ".hlo.txt").write_text(MODULE)
        return types.SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(report, "export", lambda *arguments: None)


def test_report_writes_tables_and_a_plot(tmp_path, fake_compiler, capsys):
    report.report(options(sys.executable, str(tmp_path)))
    printed = capsys.readouterr().out
    assert "| conadv | 8 | TPU v3 | 1,288 | 1.00 |" in printed
    markdown = (tmp_path / "report.md").read_text()
    assert "conadv, 8 images: all operations have a TPU kernel" in markdown
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["options"]["topology"] == "v3:2x2"
    assert [each["relative"] for each in written["steps"]] == [1.0, 1.0]
    assert (tmp_path / "report.csv").read_text().count("\n") == 3
    assert (tmp_path / "throughput.png").read_bytes().startswith(b"\x89PNG")


def test_rows_of_earlier_reports_are_added(tmp_path, fake_compiler, capsys):
    first, second = tmp_path / "first", tmp_path / "second"
    methods = ["shared_pass", "conadv"]
    report.report(options(sys.executable, str(first), methods=methods))
    earlier = first / "report.csv"
    # Simulates an earlier compiler with other estimates.
    earlier.write_text(earlier.read_text().replace("1288", "2576"))
    report.report(options(sys.executable, str(second), earlier=[str(earlier)]))
    rows = tables.read(second / "report.csv")
    assert [row["method"] for row in rows] == [
        "baseline",
        "conadv",
        "shared_pass",
    ]
    assert [row["cycles"] for row in rows] == [1288, 1288, 2576]
    assert [row["relative"] for row in rows] == [1.0, 1.0, 2.0]
    assert rows[0]["gigabytes_accessed"] is None


# The longest role determines the time of a step on three times the replicas.
def test_report_compares_the_longest_role(tmp_path, fake_compiler, capsys):
    python, methods = sys.executable, ("disadv", "rotating_roles")
    report.report(options(python, str(tmp_path), methods))
    printed = capsys.readouterr().out
    assert "| role_attack | 8 | TPU v3 | 1,288 | 1.00 |" in printed
    assert "| rotating_roles |" not in printed
    assert (
        "8 images, longest role: 1,288 cycles, 1.00 of the baseline; with "
        "three times the replicas and the same global batch size 1.00 times "
        "the throughput of DisAdv."
    ) in printed


@pytest.mark.slow
def test_command_without_environment_ends_with_the_remedy():
    script = pathlib.Path(__file__).parents[1] / "tools" / "tpu_report.py"
    result = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    # TensorFlow may print lines before it.
    assert "\nerror: Expected --python" in "\n" + result.stderr
    assert "Traceback" not in result.stderr
