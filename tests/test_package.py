"""The package as a whole: imports, layering, documents."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

import conadv_tf as ca

ROOT = pathlib.Path(__file__).parents[1]
MODULES = sorted((ROOT / "conadv_tf").rglob("*.py"))


def test_import_loads_nothing_that_is_not_needed_and_says_nothing():
    code = (
        "import sys, conadv_tf; print([name for name in ("
        "'tensorflow_addons', 'keras_cv', 'tensorflow_datasets', "
        "'matplotlib', 'sklearn') if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"TF_CPP_MIN_LOG_LEVEL": "3", "PATH": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "[]\n"
    assert result.stderr == ""


def test_files_are_of_one_idea():
    scripts = [*ROOT.glob("experiments/*.py"), *ROOT.glob("tools/*.py")]
    for path in [*MODULES, *scripts]:
        assert len(path.read_text().splitlines()) <= 330, path


def test_public_names_are_documented():
    readme = (ROOT / "README.md").read_text()
    for name in ca.__all__:
        value = getattr(ca, name)
        assert value.__doc__, name
        assert f"`ca.{name}" in readme, name


def python_blocks(document):
    text = (ROOT / document).read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


# The README's example turns a user's own Keras model into a ConAdv one.
@pytest.mark.parametrize("index", range(len(python_blocks("README.md"))))
def test_readme_examples_run(index):
    block = python_blocks("README.md")[index]
    if index == 0:
        assert len(ast.parse(block).body) <= 10
    scope = {}
    for previous in python_blocks("README.md")[:index]:
        exec(previous, scope)
    exec(block, scope)
    assert scope


# Every flag in a documented command exists.
@pytest.mark.parametrize("document", ["README.md", "BUILD.md"])
def test_documented_commands_parse(document):
    text = (ROOT / document).read_text()
    commands = re.findall(
        r"python ((?:experiments|tools)/\w+\.py)([^\n`]*)", text
    )
    assert commands or document != "README.md"
    for script, arguments in commands:
        flags = set(re.findall(r"--(\w+)", arguments.split("#")[0]))
        flags -= {"helpshort"}  # Of absl itself.
        source = (ROOT / script).read_text()
        if script == "experiments/run.py":
            for name in ("run_flags", "resume"):
                source += (ROOT / "experiments" / f"{name}.py").read_text()
        for flag in flags:  # Of absl or argparse.
            defined = rf'DEFINE_\w+\(\s*"{flag}"|"--{flag}"'
            assert re.search(defined, source), flag
