"""The package as a whole: what an import loads, sizes of files."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = ("conadv_tf", "experiments", "tests", "tools")


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
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text().splitlines()) <= 300, path
