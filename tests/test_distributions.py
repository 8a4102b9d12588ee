"""A wheel has working commands, and an sdist has tests that pass."""

import os
import pathlib
import subprocess
import sys
import tarfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def run(*command, cwd, **variables):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    result = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


# `build` builds the wheel from the sdist.
@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "build", "--outdir", folder, ROOT, cwd=folder)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def test_commands_of_a_wheel(built, tmp_path):
    installed, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    run(
        *("-m", "pip", "install", "--quiet", "--no-deps"),
        *("--target", installed, built[0]),
        cwd=empty,
    )
    commands = sorted(path.name for path in (installed / "bin").iterdir())
    assert commands == ["conadv-report", "conadv-run", "conadv-sweep"]
    # No top-level package has a common name.
    names = {path.name.partition("-")[0] for path in installed.iterdir()}
    assert names == {"bin", "conadv_tf", "conadv_tf_commands"}
    small = "--set=epochs=1", "--set=network.depth=8", "--set=network.width=4"

    def command(name, *arguments):
        script = installed / "bin" / name
        return run(script, *arguments, cwd=empty, PYTHONPATH=str(installed))

    assert "top-1" in command("conadv-run", *small, "--model_dir=one")
    assert (empty / "one" / "curves.png").exists()
    output = ("--seeds=1", "--output_dir=several")
    command("conadv-sweep", "--method=baseline", *small, *output)
    assert "baseline" in command("conadv-report", "several", "--html")
    code = "import conadv_tf; print(conadv_tf.__file__)"
    where = run("-c", code, cwd=empty, PYTHONPATH=str(installed))
    assert where.startswith(str(installed))


def test_tests_of_an_sdist(built, tmp_path):
    with tarfile.open(built[1]) as archive:
        archive.extractall(tmp_path)  # We built it, so it is safe.
    (root,) = tmp_path.iterdir()
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("conadv_tf", "docs", "experiments", "tests", "tools")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert not [name for name in found if not (root / name).exists()]
    run(
        *(
            "-m",
            "pytest",
            "-n0",
            "tests/test_package.py",
            "tests/test_imports.py",
        ),
        cwd=root,
        PYTHONPATH=str(root),
    )
