"""The package as a whole: imports, layering, sizes."""

import pathlib
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


def test_files_are_of_one_idea():
    scripts = [*ROOT.glob("experiments/**/*.py"), *ROOT.glob("tools/**/*.py")]
    for path in [*MODULES, *scripts]:
        assert len(path.read_text().splitlines()) <= 330, path
