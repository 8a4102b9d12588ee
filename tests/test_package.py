"""The package as a whole: imports, metadata, sizes of files."""

import importlib.metadata
import pathlib
import re
import subprocess
import sys

import conadv_tf

ROOT = pathlib.Path(__file__).parents[1]
# Newer TensorFlow versions print these lines at every level of logging.
TENSORFLOW_STARTS = re.compile(
    r"(WARNING: All log messages before|[EIW]0000 .*\.cc:).*\n"
)
FOLDERS = ("conadv_tf", "experiments", "tests", "tools")


def test_import_loads_no_optional_package_and_prints_nothing():
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
    assert not TENSORFLOW_STARTS.sub("", result.stderr)


def test_version_and_license_agree_in_all_files():
    installed = importlib.metadata.metadata("conadv_tf")
    version = conadv_tf.__version__
    assert installed["Version"] == version
    assert installed["License-Expression"] == "Apache-2.0"
    license_text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in license_text and "Version 2.0" in license_text
    for path in ("CITATION.cff", "docs/citing.md"):
        text = (ROOT / path).read_text()
        assert re.findall(r"\d+\.\d+\.\d+\b", text.replace("1.2.0", "")) == [
            version
        ], path
    changes = (ROOT / "CHANGELOG.md").read_text()
    date = re.search(rf"^## \[{version}\] - ([\d-]{{10}})$", changes, re.M)[1]
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {version}\ndate-released: {date}\n" in citation


def test_files_have_at_most_300_lines():
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text().splitlines()) <= 300, path


def test_the_files_of_stack_b_exist():
    listed = (ROOT / ".ci" / "tests_b.txt").read_text().split("\n")
    for name in listed:
        if name and not name.startswith("#"):
            assert (ROOT / name).is_file(), name
