"""Lowers, compiles and tabulates training steps; see tools/tpu_report.py."""

import itertools
import json
import os
import pathlib
import subprocess
import sys

import tensorflow as tf

from conadv_tf import csv_file
from experiments import results
from tools.step import models
from tools.tpu import compiler
from tools.tpu import cycles
from tools.tpu import export as export_lib
from tools.tpu import figure
from tools.tpu import kernels
from tools.tpu import tables
from tools.tpu.phases import KNOWN
from tools.tpu.phases import PAIRED
from tools.tpu.phases import PHASES


def check_python(python, flag, requirements, create=False):
    """Makes sure that there is an environment, FOLDER/bin/python.

    `requirements` are what it holds, as pip takes it, `flag` what names it.

    Raises:
      ValueError: if there is none, with how to make it; or if that fails.
    """
    if python and pathlib.Path(python).is_file():
        return
    if not (python and create):
        raise ValueError(
            f"Expected {flag} to be the Python of an environment with "
            f"{requirements}; received {python!r}. Make one of its own: "
            f"python3.11 -m venv tpu-venv && tpu-venv/bin/pip install "
            f"{requirements}; then {flag}=tpu-venv/bin/python. Or add "
            "--create_environments."
        )
    folder = pathlib.Path(python).parents[1]
    print(f"making {folder} with {requirements}", flush=True)
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [python, "-m", "pip", "install", *requirements.split()],
    ):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            errors = result.stderr.strip()[-500:]
            raise ValueError(f"{' '.join(command)} failed: {errors}")


def report(options):
    """Compiles all steps and writes and prints what came out.

    `options` are the flags of tools/tpu_report.py. Raises a ValueError if an
    environment is missing or a step does not compile.
    """
    create = options.create_environments
    check_python(options.python, "--python", compiler.REQUIREMENTS, create)
    kernels_python = options.kernels_python
    if kernels_python:
        flag = "--kernels_python"
        check_python(kernels_python, flag, kernels.REQUIREMENTS, create)
    output = pathlib.Path(options.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    wanted = [
        (method, size)
        for size in options.batch_size
        for method in steps(options.method, options.placement)
    ]
    for method, size in wanted:  # All of them, before one takes minutes.
        export(step_path(method, size, options), method, size, options)
    rows = [
        row
        for row in itertools.chain(*map(tables.read, options.earlier))
        if (row["method"], row["batch_size"]) not in wanted
    ]
    details = []
    for method, size in wanted:
        path = step_path(method, size, options)
        if kernels_python:
            absent = absent_kernels(kernels_python, path)
            details.append(tables.kernels(method, size, absent))
        facts, text = compile_step(options.python, path, options.topology)
        found = cycles.costs(text)
        rows.append(tables.summary(method, size, facts, found))
        details.append(tables.details(method, size, found, options.num_dearest))
        print(details[-1], flush=True)
        # What there is, in case that the next step fails.
        table = write(rows, details, options)
    print(table)


def write(rows, details, options):
    """Writes the table, the picture and the details; returns the table."""
    output = pathlib.Path(options.output_dir)
    order = (*export_lib.METHODS, *KNOWN)
    rows = sorted(
        tables.with_relative(rows),
        key=lambda row: (-row["batch_size"], order.index(row["method"])),
    )
    table = tables.methods_table(rows) + tables.longest_phases(rows)
    (output / "report.md").write_text("\n".join([table, *details]))
    panels = figure.bars(rows)
    if panels:
        figure.draw(panels, rows[0]["device"], output / "throughput.png")
    csv_file.write(output / "report.csv", rows)
    facts = {"options": vars(options), "steps": rows}
    results.write_json(output / "report.json", facts)
    return table


def step_path(method, batch_size, options):
    """Where a step's files are, without their endings."""
    name = f"{options.network}_{method}_{batch_size}"
    return pathlib.Path(options.output_dir) / name


def steps(methods, placement):
    """The steps to compile: the methods, or phases in the place of some."""
    schedules = {"conadv": PHASES, "conadv_shared": PAIRED}
    phased = schedules if placement == "phased" else {}
    return [step for name in methods for step in phased.get(name, (name,))]


def export(path, method, batch_size, options):
    """Writes a step's HLO and its operations beside `path`."""
    tf.keras.backend.clear_session()
    tf.keras.mixed_precision.set_global_policy(options.precision)
    function, specs = export_lib.step_function(
        models.network(options.network, options.image_size),
        method,
        batch_size,
        models.paper_attack(),
    )
    serialized = export_lib.hlo(function, specs)
    pathlib.Path(f"{path}.hlo.pb").write_bytes(serialized)
    operations = json.dumps(export_lib.operations(function, specs))
    pathlib.Path(f"{path}.operations.json").write_text(operations)


def compile_step(python, path, topology):
    """Compiles what `export` wrote to `path`.

    Returns:
      (dict of facts, text of the optimized module).

    Raises:
      ValueError: if it does not compile, with the compiler's words.
    """
    run_script(python, "compiler", topology, f"{path}.hlo.pb", path)
    facts = json.loads(pathlib.Path(f"{path}.json").read_text())
    return facts, pathlib.Path(f"{path}.hlo.txt").read_text()


def absent_kernels(python, path):
    """Operations of an exported step that TPUs have no kernel for."""
    missing = f"{path}.missing.json"
    run_script(python, "kernels", f"{path}.operations.json", missing)
    return json.loads(pathlib.Path(missing).read_text())


def run_script(python, name, *arguments):
    """Runs a script of this folder in another environment.

    Raises:
      ValueError: with the last lines of its errors, if it fails.
    """
    script = pathlib.Path(__file__).with_name(f"{name}.py")
    environment = {
        **os.environ,
        # No metadata server is to be asked what TPU this machine has.
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
        # There is no device that two processes could both want.
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }
    result = subprocess.run(
        # Isolated: it is not to see this environment's packages.
        [python, "-I", str(script), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        raise ValueError(
            f"{name} failed with exit code {result.returncode} in {python}: "
            + "\n".join(result.stderr.strip().splitlines()[-8:])
        )
