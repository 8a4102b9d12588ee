"""The package as a whole: imports, layering, sizes."""

import ast
import pathlib
import re
import subprocess
import sys

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


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {module_name(path) for path in MODULES}


def imports_of(path):
    """Names of the package's modules that a module imports at its top."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            # A module of a wing is imported past the wing's own __init__.
            found |= names if names <= NAMES else {*names, node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


# Imports point downward: no module can reach itself.
def test_imports_have_no_cycles():
    names = {module_name(path): path for path in MODULES}
    graph = {
        name: {n for n in imports_of(path) if n in names and n != name}
        - {"conadv_tf"}
        for name, path in names.items()
    }

    def visit(name, above):
        assert name not in above, f"cycle: {' -> '.join([*above, name])}"
        for other in graph[name]:
            visit(other, [*above, name])

    for name in graph:
        visit(name, [])


def test_the_library_does_not_know_its_users():
    for path in MODULES:
        text = path.read_text()
        for forbidden in ("experiments", "tools", "absl"):
            assert not re.search(
                rf"^\s*(from|import) {forbidden}", text, re.MULTILINE
            ), path


def test_files_are_of_one_idea():
    scripts = [*ROOT.glob("experiments/*.py"), *ROOT.glob("tools/*.py")]
    for path in [*MODULES, *scripts]:
        assert len(path.read_text().splitlines()) <= 330, path
