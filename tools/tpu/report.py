"""Exports, compiles and tabulates training steps, for tpu_report.py."""

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


def check_python(python, flag, requirements, create=False):
    """Checks that a Python environment exists, and creates it on request.

    Args:
      python: path FOLDER/bin/python, or None.
      flag: name of the flag that gave it.
      requirements: packages of the environment, as pip takes them.
      create: whether to create a missing environment.

    Raises:
      ValueError: if the environment is missing, with the commands that create
        it; or if creating it fails.
    """
    if python and pathlib.Path(python).is_file():
        return
    if not (python and create):
        raise ValueError(
            f"Expected {flag} to be the Python of an environment with "
            f"{requirements}; received {python!r}. Create a separate "
            "environment: python3.11 -m venv tpu-venv && "
            f"tpu-venv/bin/pip install {requirements}; then pass "
            f"{flag}=tpu-venv/bin/python. Or add --create_environments."
        )
    folder = pathlib.Path(python).parents[1]
    print(f"creating {folder} with {requirements}", flush=True)
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [python, "-m", "pip", "install", *requirements.split()],
    ):
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            errors = result.stderr.strip()[-500:]
            raise ValueError(f"{' '.join(command)} failed: {errors}")


def report(options):
    """Compiles all steps, and writes and prints the results.

    Args:
      options: namespace of the flags of tpu_report.py.

    Raises:
      ValueError: if an environment is missing or a step does not compile.
    """
    environments = [("--python", options.python, compiler.REQUIREMENTS)]
    if options.kernels_python:
        python = options.kernels_python
        environments.append(("--kernels_python", python, kernels.REQUIREMENTS))
    for flag, python, requirements in environments:
        check_python(python, flag, requirements, options.create_environments)
    output = pathlib.Path(options.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    names = steps(options.method)
    wanted = [(name, size) for size in options.batch_size for name in names]
    paths = [output / f"{options.network}_{n}_{size}" for n, size in wanted]
    # Errors in the export show up before the compiler takes minutes.
    for path, (name, size) in zip(paths, wanted):
        export(path, name, size, options)
    rows = [
        row
        for row in itertools.chain(*map(tables.read, options.earlier))
        if (row["method"], row["batch_size"]) not in wanted
    ]
    details = []
    for path, (name, size) in zip(paths, wanted):
        if options.kernels_python:
            absent = absent_kernels(options.kernels_python, path)
            details.append(tables.kernels(name, size, absent))
        facts, text = compile_step(options.python, path, options.topology)
        found = cycles.estimates(text)
        rows.append(tables.summary(name, size, facts, found))
        details.append(
            tables.details(name, size, found, options.num_instructions)
        )
        print(details[-1], flush=True)
        # Written after each step in case the next one fails.
        table = write(rows, details, options)
    print(table)


def write(rows, details, options):
    """Writes the tables and the plot, and returns the table of methods."""
    output = pathlib.Path(options.output_dir)
    order = (*export_lib.METHODS, *export_lib.ROLES)
    rows = sorted(
        tables.with_relative(rows),
        key=lambda row: (-row["batch_size"], order.index(row["method"])),
    )
    table = tables.methods_table(rows) + tables.longest_roles(rows)
    (output / "report.md").write_text("\n".join([table, *details]))
    panels = figure.bars(rows)
    if panels:
        figure.draw(panels, rows[0]["device"], output / "throughput.png")
    csv_file.write(output / "report.csv", rows)
    facts = {"options": vars(options), "steps": rows}
    results.write_json(output / "report.json", facts)
    return table


def steps(methods):
    """Returns the steps to compile: rotating roles are three steps."""
    return [
        step
        for name in methods
        for step in (export_lib.ROLES if name == "rotating_roles" else (name,))
    ]


def export(path, method, batch_size, options):
    """Writes the HLO of a step and its operations to `path` with endings."""
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
    """Compiles a step that `export` wrote.

    Returns:
      (dict of facts, text of the optimized module).

    Raises:
      ValueError: if it does not compile, with the errors of the compiler.
    """
    run_script(python, "compiler", topology, f"{path}.hlo.pb", path)
    facts = results.read_json(pathlib.Path(f"{path}.json"))
    return facts, pathlib.Path(f"{path}.hlo.txt").read_text()


def absent_kernels(python, path):
    """Returns the operations of an exported step that have no TPU kernel."""
    missing = pathlib.Path(f"{path}.missing.json")
    run_script(python, "kernels", f"{path}.operations.json", missing)
    return json.loads(missing.read_text(encoding="utf-8"))


def run_script(python, name, *arguments):
    """Runs a script of this folder in another environment.

    Raises:
      ValueError: if the script fails, with the last lines of its errors.
    """
    script = pathlib.Path(__file__).with_name(f"{name}.py")
    environment = {
        **os.environ,
        # Prevents queries to a metadata server about the TPU of this machine.
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_WORKER_ID": "0",
        # No device is opened, so processes cannot conflict.
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }
    result = subprocess.run(
        # -I isolates the script from the packages of this environment.
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
