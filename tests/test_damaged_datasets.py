"""Damaged and missing files of prepared tensorflow-datasets are named."""

import pathlib
import shutil
import subprocess
import sys

import pytest
import tensorflow as tf

import conadv_tf as ca


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    ca.data.load("digits", data_dir=str(folder))
    return folder


@pytest.fixture
def data_dir(prepared, tmp_path):
    return shutil.copytree(prepared, tmp_path / "tfds")


def stored(data_dir, name):
    (path,) = pathlib.Path(data_dir).rglob(f"*{name}*")
    return path


def load(data_dir, **options):
    return ca.data.load("digits", 10, data_dir=str(data_dir), **options)


def flip_a_bit(contents):
    return contents[:5000] + bytes([contents[5000] ^ 1]) + contents[5001:]


# TensorFlow says "corrupted record at 4923" and names no file.
@pytest.mark.parametrize(
    "damage, problem",
    [
        (flip_a_bit, "is damaged after 28 of 1297 records .corrupted record"),
        (lambda contents: contents[:50000], "is damaged after .* .truncated"),
        (lambda contents: b"", "has 0 records instead of 1297"),
    ],
)
def test_damaged_records_are_named(data_dir, damage, problem):
    path = stored(data_dir, "-train.tfrecord")
    path.write_bytes(damage(path.read_bytes()))
    dataset = load(data_dir)
    with pytest.raises(tf.errors.OpError):
        list(dataset.train)
    message = rf"the file '{path}' {problem}.*Copy the folder again; or remove"
    with pytest.raises(ValueError, match=message):
        dataset.source.check_files()
    with pytest.raises(ValueError, match=message):
        load(data_dir, train_images=100)  # It reads all labels first.


@pytest.mark.parametrize(
    "name, message",
    [
        ("-test.tfrecord", r"1 files are missing \(conadv_digits-test.tfrec"),
        ("dataset_info.json", "; dataset_info.json is missing. Copy"),
    ],
)
def test_missing_files_are_named(data_dir, name, message):
    stored(data_dir, name).unlink()
    with pytest.raises(ValueError, match=message):
        load(data_dir)


def test_a_damaged_description_is_named(data_dir):
    path = stored(data_dir, "dataset_info.json")
    path.write_text(path.read_text()[:300])
    with pytest.raises(ValueError, match=rf"json .*below '{data_dir}' for 'di"):
        load(data_dir)


def test_intact_files(data_dir):
    dataset = load(data_dir)
    dataset.source.check_files()
    stored(data_dir, "-test.tfrecord").unlink()
    load(data_dir, validation_fraction=0.1)  # It does not read the test split.


@pytest.mark.slow
def test_run_names_a_damaged_file(data_dir, tmp_path):
    path = stored(data_dir, "-train.tfrecord")
    path.write_bytes(flip_a_bit(path.read_bytes()))
    script = pathlib.Path(__file__).parents[1] / "experiments" / "run.py"
    flags = [f"--data_dir={data_dir}", f"--model_dir={tmp_path / 'run'}"]
    result = subprocess.run(
        [sys.executable, str(script), "--epochs=1", *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert f"the file '{path}' is damaged" in result.stderr
    assert "Traceback" not in result.stderr
