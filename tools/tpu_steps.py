"""Lowers, compiles and tabulates training steps; see `tpu_report.py`."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from typing import Optional

from conadv_tf import csv_file
from tools import tpu_compiler
from tools import tpu_cycles
from tools import tpu_figure
from tools import tpu_kernels
from tools import tpu_tables
from tools.tpu_tables import PHASES


@dataclasses.dataclass(frozen=True)
class Options:
    """What to report; the fields are the flags of `tpu_report.py`."""

    python: Optional[str]
    kernels_python: Optional[str]
    create_environments: bool
    network: str
    image_size: int
    method: list
    batch_size: list
    placement: str
    staleness: int
    views: int
    precision: str
    topology: str
    num_dearest: int
    output_dir: str

    @property
    def steps(self):
        """The steps to compile: the methods, or phases in their place."""
        return [
            step
            for method in self.method
            for step in (
                PHASES
                if method == "conadv" and self.placement == "phased"
                else (method,)
            )
        ]


def check_python(python, flag, requirements, create=False):
    """Makes sure that there is an environment.

    Args:
      python: path of its Python, FOLDER/bin/python.
      flag: the flag that names it.
      requirements: what it holds, as pip takes it.
      create: whether to make a missing one.

    Raises:
      ValueError: if there is none, with how to make it; or if that fails.
    """
    if python and pathlib.Path(python).is_file():
        return
    if python and create:
        _create_environment(pathlib.Path(python), requirements)
        return
    raise ValueError(
        f"Expected {flag} to be the Python of an environment with "
        f"{requirements}; received {python!r}. Make one of its own: "
        f"python3.11 -m venv tpu-venv && tpu-venv/bin/pip install "
        f"{requirements}; then {flag}=tpu-venv/bin/python. Or add "
        "--create_environments."
    )


def _create_environment(python, requirements):
    print(f"making {python.parents[1]} with {requirements}", flush=True)
    for command in (
        [sys.executable, "-m", "venv", str(python.parents[1])],
        [str(python), "-m", "pip", "install", *requirements.split()],
    ):
        result = subprocess.run(
            command, capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise ValueError(
                f"{' '.join(command)} failed: {result.stderr.strip()[-500:]}"
            )


def report(options):
    """Compiles all steps and writes and prints what came out.

    Args:
      options: an `Options`.

    Raises:
      ValueError: if an environment is missing or a step does not compile.
    """
    create = options.create_environments
    check_python(options.python, "--python", tpu_compiler.REQUIREMENTS, create)
    if options.kernels_python:
        check_python(
            options.kernels_python,
            "--kernels_python",
            tpu_kernels.REQUIREMENTS,
            create,
        )
    output = pathlib.Path(options.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    rows, details = [], []
    for size in options.batch_size:
        for method in options.steps:
            path = output / f"{options.network}_{method}_{size}"
            export(path, method, size, options)
            if options.kernels_python:
                absent = absent_kernels(options.kernels_python, path)
                details.append(kernels_text(method, size, absent))
            facts, text = compile_step(options.python, path, options.topology)
            found = tpu_cycles.costs(text)
            rows.append(tpu_tables.summary(method, size, facts, found))
            details.append(
                details_text(method, size, found, options.num_dearest)
            )
            # A step takes minutes: show what there is.
            print(details[-1], flush=True)
    rows = tpu_tables.with_relative(rows)
    table = tpu_tables.methods_table(rows) + tpu_tables.longest_phases(rows)
    print(table)
    (output / "report.md").write_text("\n".join([table, *details]))
    panels = tpu_figure.bars(rows, PHASES)
    if panels:
        tpu_figure.draw(panels, rows[0]["device"], output / "throughput.png")
    csv_file.write(output / "report.csv", rows, tpu_tables.COLUMNS)
    (output / "report.json").write_text(
        json.dumps(
            {"options": dataclasses.asdict(options), "steps": rows}, indent=2
        )
    )


def export(path, method, batch_size, options):
    """Writes a step's HLO and its operations beside `path`."""
    # Late, so that a wrong flag is told at once.
    import tensorflow as tf

    from tools import step_export
    from tools import training_step

    tf.keras.mixed_precision.set_global_policy(options.precision)
    function, specs = step_export.step_function(
        training_step.network(options.network, options.image_size),
        method,
        batch_size,
        training_step.attack(),
        options.staleness,
        options.views,
    )
    _with_suffix(path, ".hlo.pb").write_bytes(step_export.hlo(function, specs))
    _with_suffix(path, ".operations.json").write_text(
        json.dumps(step_export.operations(function, specs))
    )


def _with_suffix(path, suffix):
    return path.with_name(path.name + suffix)


def compile_step(python, path, topology):
    """Compiles an exported step with the TPU compiler.

    Args:
      python: of the environment with jax and libtpu.
      path: where `export` wrote.
      topology: see the flag.

    Returns:
      (dict of facts, text of the optimized module).

    Raises:
      ValueError: if it does not compile, with the compiler's words.
    """
    run_tool(
        python, "tpu_compiler", topology, _with_suffix(path, ".hlo.pb"), path
    )
    facts = json.loads(_with_suffix(path, ".json").read_text())
    return facts, _with_suffix(path, ".hlo.txt").read_text()


def absent_kernels(python, path):
    """Operations of an exported step that TPUs have no kernel for."""
    missing = _with_suffix(path, ".missing.json")
    run_tool(
        python, "tpu_kernels", _with_suffix(path, ".operations.json"), missing
    )
    return json.loads(missing.read_text())


def run_tool(python, name, *arguments):
    """Runs a script of this folder in another environment.

    Raises:
      ValueError: with the last lines of its errors, if it fails.
    """
    script = pathlib.Path(__file__).with_name(f"{name}.py")
    # The environment is not to see this one's packages.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    result = subprocess.run(
        [python, str(script), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise ValueError(
            f"{name} failed with exit code {result.returncode} in {python}: "
            + "\n".join(result.stderr.strip().splitlines()[-8:])
        )


def kernels_text(method, batch_size, absent):
    """A paragraph about operations without a TPU kernel."""
    title = f"{method}, {batch_size} images: "
    if not absent:
        return title + "all operations have a TPU kernel.\n"
    names = ", ".join(f"{name} {types}" for name, types in absent)
    return title + f"no TPU kernel for {names}.\n"


def details_text(method, batch_size, found, count):
    """What the cycles of a step go into, as Markdown."""
    title = f"## {method}, {batch_size} images\n"
    if not found:
        return title + "\nThe compiler estimates no cycles for this TPU.\n"
    return "\n".join(
        [
            title,
            tpu_tables.breakdown_table(found, "part"),
            tpu_tables.breakdown_table(found, "kind"),
            tpu_tables.dearest_table(found, count),
        ]
    )
