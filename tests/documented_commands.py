"""Collects the commands in the documents and parses them with their scripts.

Each script is loaded in a fresh process, because two scripts may define the
same flag. Nothing is trained: the flags are parsed, and the configuration that
they describe is built.
"""

import ast
import contextlib
import importlib.util
import io
import multiprocessing
import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).parents[1]
_COMMAND = re.compile(r"python3? ((?:experiments|tools)/\w+\.py)(.*)")
_SHORT = re.compile(r"^(run|sweep)\.py (--.*)")


def _code(text):
    """Returns the code in Markdown: (lines of blocks, spans in prose)."""
    text = text.replace("\\\n", " ")
    block = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
    lines = [
        line for found in block.findall(text) for line in found.split("\n")
    ]
    spans = re.findall(r"`([^`]+)`", block.sub("", text))
    return lines, [" ".join(span.split()) for span in spans]


def _documents():
    """Returns {path: (lines of code, spans in prose)} of all documents.

    The module docstrings of scripts are documents too.
    """
    found = {}
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")):
        found[path.relative_to(ROOT).as_posix()] = _code(path.read_text())
    for folder in ("experiments", "tools"):
        for path in ROOT.glob(f"{folder}/**/*.py"):
            text = ast.get_docstring(ast.parse(path.read_text())) or ""
            _, spans = _code(text)
            lines = text.replace("\\\n", " ").split("\n")
            found[path.relative_to(ROOT).as_posix()] = lines, spans
    return found


def _arguments(text):
    """Splits a command line; drops comments and further commands."""
    text = re.sub(r"\$\{?\w+\}?", "dummy", re.split(r" (?:&&|\|) ", text)[0])
    # absl defines --helpshort for every script.
    return [a for a in shlex.split(text, comments=True) if a != "--helpshort"]


def commands():
    """Yields (document, script, arguments) of each documented command."""
    for document, (lines, spans) in _documents().items():
        for text in (*lines, *spans):
            for script, arguments in _COMMAND.findall(" ".join(text.split())):
                yield document, script, _arguments(arguments)
        for span in spans:
            for script, arguments in _SHORT.findall(span):
                yield (
                    document,
                    f"experiments/{script}.py",
                    _arguments(arguments),
                )


def options():
    """Yields (document, arguments) of options in prose without a script."""
    for document, (_, spans) in _documents().items():
        for span in spans:
            if not re.fullmatch(
                r"--\w+(=\S+| [\w.]+=\S+)?( --\w+(=\S+)?)*", span
            ):
                continue
            choices = re.search(r"\w+(\|\w+)+", span)
            for choice in choices[0].split("|") if choices else ("",):
                text = span.replace(choices[0], choice) if choices else span
                # Fills in placeholders, and values of flags without one.
                text = re.sub(r"=(n|b|\.\.\.)(?= |$)", "=1", text)
                text = re.sub(r"--set$", "--set=epochs=1", text)
                text = re.sub(r"(--(?!set)\w+)(?= |$)", r"\1=1", text)
                yield document, shlex.split(text)


def check(by_script):
    """Parses commands with their scripts.

    Args:
      by_script: {script: list of the arguments of each command}.

    Returns:
      {script: list of error messages}, None in place of an error message for
      each valid command.
    """
    context = multiprocessing.get_context("forkserver")
    # Importing the package takes as long as everything else, so do it once.
    context.set_forkserver_preload(["conadv_tf"])
    with context.Pool(1, maxtasksperchild=1) as pool:
        errors = pool.starmap(_errors, by_script.items(), chunksize=1)
    return dict(zip(by_script, errors))


def _errors(script, commands):
    from absl import app
    from absl import flags

    app.define_help_flags()
    spec = importlib.util.spec_from_file_location(
        pathlib.Path(script).stem, ROOT / script
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    errors = []
    for arguments in commands:
        output = io.StringIO()
        with (
            contextlib.redirect_stderr(output),
            contextlib.redirect_stdout(output),
        ):
            try:
                _read(script, module, arguments)
                errors.append(None)
            except (flags.Error, ValueError, SystemExit) as error:
                errors.append(f"{output.getvalue()}{error}")
    return errors


def _read(script, module, arguments):
    from absl import flags
    from absl.testing import flagsaver

    with flagsaver.flagsaver():
        positional = flags.FLAGS([script, *arguments])[1:]
        if script == "experiments/run.py":
            _read_run(module, positional)
        elif script == "experiments/sweep.py":
            _read_sweep(module, positional)


def _read_run(run, positional):
    from experiments import smoke_test

    _check_none(positional)
    config = run.run_flags.read_config()
    if run.FLAGS.quick:
        smoke_test.scale_down(config, pathlib.Path("made"))


def _read_sweep(sweep, positional):
    from experiments.sweeps import sweeping

    _check_none(positional)
    specs = sweep.sweep_flags.read_specs()
    if sweep.FLAGS.quick:
        specs = sweeping.scaled_down(specs, pathlib.Path("made"))
    sweep.sweep_flags.read_trials(specs)
    sweep.axes.with_seeds(specs, sweep.FLAGS.seeds)


def _check_none(positional):
    if positional:
        raise ValueError(f"Unexpected arguments: {positional}")
