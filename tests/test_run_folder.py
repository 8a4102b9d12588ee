"""The folder of a run: who may create, lock, continue and remove it."""

import contextlib
import dataclasses
import errno
import fcntl
import os
import pathlib
import threading
from unittest import mock

from absl.testing import flagsaver
import pytest

import conadv_tf as ca
from conadv_tf import paths
from experiments import config as config_lib
from experiments import lock
from experiments import run
from experiments import run_folder
from experiments.sweeps import files

CONFIG = config_lib.RunConfig()


def names(folder):
    return {path.name for path in folder.iterdir()}


def fail(*arguments):
    """Returns the error message of run.py."""
    with flagsaver.flagsaver():
        run.FLAGS(["run.py", *arguments])
        with pytest.raises(SystemExit) as error:
            run.main(["run.py"])
    return str(error.value)


# A second process, started too early, once removed the folder of the first.
@pytest.mark.parametrize("flags", [["--resume"], []])
def test_a_second_process_leaves_a_running_job_alone(flags, tmp_path):
    with run_folder.new(tmp_path / "run", CONFIG) as folder:
        (folder / "checkpoints").mkdir()
        before = names(folder)
        message = fail(f"--model_dir={folder}", *flags)
        assert ("Another process is training" in message) == bool(flags)
        assert f"process {os.getpid()} on " in message or not flags
        assert names(folder) == before
        # A sweep moves the folders of interrupted runs only.
        with pytest.raises(ValueError, match="Another process is training"):
            files.move_aside(folder)
    with run_folder.existing(folder, CONFIG) as found:
        assert found == (folder, None)


# The first retry after a crash may meet data that are not mounted yet.
def test_a_failing_resume_leaves_the_folder(tmp_path):
    data = "folder:/not/mounted"
    config = dataclasses.replace(CONFIG, dataset=data)
    with run_folder.new(tmp_path / "run", config) as folder:
        (folder / "checkpoints").mkdir()
    before = names(folder)
    for _ in range(2):
        assert "there is no folder" in fail(
            f"--model_dir={folder}", f"--dataset={data}", "--resume"
        )
    assert names(folder) == before


@pytest.mark.parametrize(
    "exists, extra, remains",
    [
        (False, [], None),
        (True, [], set()),  # The user has made the folder.
        (False, ["history.csv"], {"config.json", "run.lock", "history.csv"}),
        (True, ["checkpoints/at_1"], {"config.json", "run.lock", "at_1"}),
    ],
)
def test_a_run_that_failed_early_removes_what_it_made(
    exists, extra, remains, tmp_path
):
    folder = tmp_path / "run"
    if exists:
        folder.mkdir()
    with pytest.raises(FloatingPointError):
        with run_folder.new(folder, CONFIG) as path:
            (path / "checkpoints").mkdir()
            for name in extra:
                (path / name).touch()
            raise FloatingPointError
    if remains is None:
        assert not folder.exists()
    else:
        assert folder.exists()
        found = {path.name for path in folder.rglob("*")}
        assert found - {"checkpoints"} == remains


def test_a_folder_with_files_is_refused_and_not_touched(tmp_path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(ValueError, match="already holds something"):
        with run_folder.new(tmp_path, CONFIG):
            pass
    assert names(tmp_path) == {"photo.jpg"}
    with pytest.raises(ValueError, match="Cannot write"):
        with run_folder.new(tmp_path / "photo.jpg", CONFIG):
            pass


def begin(name, barrier, opened):
    """Opens a folder at the same time as other threads; closes it later."""
    barrier.wait()
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ValueError):
            folder = stack.enter_context(run_folder.new(name, CONFIG))
            opened.append(str(folder))
        barrier.wait()


# The lock was once on config.json, which a rename replaces.
@pytest.mark.parametrize("name", ["run", None])
def test_two_starts_at_once_never_share_a_folder(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(30):
        arguments = name and f"{name}{number}", threading.Barrier(4), []
        threads = [
            threading.Thread(target=begin, args=arguments) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        opened = arguments[-1]
        assert len(opened) == len(set(opened)) == (1 if name else 4)


def test_a_lock_file_that_was_removed_locks_nothing(tmp_path):
    path = tmp_path / "run.lock"
    flock, removed = fcntl.flock, []

    def remove_first(file, operation):
        flock(file, operation)
        if not removed:
            removed.append(path.unlink())

    with mock.patch.object(fcntl, "flock", remove_first):
        with lock.exclusive(path, str):
            assert removed and path.exists()
            with pytest.raises(ValueError, match="taken"):
                with lock.exclusive(path, lambda content: "taken"):
                    pass


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK])
@pytest.mark.parametrize("local_locks", [True, False])
def test_a_file_system_without_locks(code, local_locks, tmp_path):
    flock = fcntl.flock

    def refuse(file, operation):
        if file.name.startswith(str(tmp_path)) or not local_locks:
            raise OSError(code, os.strerror(code))
        flock(file, operation)

    with mock.patch.object(fcntl, "flock", refuse):
        with pytest.warns(RuntimeWarning, match=f"{tmp_path}.*no locks"):
            with run_folder.new(tmp_path / "run", CONFIG) as folder:
                assert "config.json" in names(folder)
                if local_locks:  # They still exclude processes of the machine.
                    with pytest.raises(ValueError, match="Another process"):
                        with run_folder.existing(folder, CONFIG):
                            pass
    denied = OSError(errno.EIO, "Input/output error")
    with mock.patch.object(fcntl, "flock", side_effect=denied):
        with pytest.raises(ValueError, match=f"{tmp_path}/b: .*Input/output"):
            with run_folder.new(tmp_path / "b", CONFIG):
                pass


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert paths.as_path("~/x") == tmp_path / "x"
    # A folder of this name, which an earlier call returned, stays as it is.
    assert paths.as_path(paths.as_path("./~")) == pathlib.Path("~")
    ca.Checkpoints("~/checkpoints")
    assert names(tmp_path) == {"checkpoints"}
    for name in ("folder:~/data", "npz:~/data.npz"):
        with pytest.raises(ValueError, match=f"'{tmp_path}/data.*there is no"):
            ca.data.load(name)


def dataset(**changes):
    values = {
        "num_train": 640,
        "num_test": 9,
        "image_shape": (8, 8, 1),
        "num_classes": 2,
        "class_names": ("a", "b"),
    }
    return mock.Mock(**{**values, **changes})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"num_train": 1297}, "training images 640 then, 1297 now"),
        ({"num_test": 8}, "test images 9 then, 8 now"),
        ({"class_names": ("a", "c")}, r"removed \['b'\], added \['c'\]"),
        ({"class_names": ("b", "a")}, "classes in another order"),
        ({"image_shape": (8, 8, 3)}, r"\[8, 8, 1\] then, \[8, 8, 3\] now"),
    ],
)
def test_changed_data_are_refused(changes, message, tmp_path):
    run_folder.check_data(tmp_path, dataset(), resumes=False)
    run_folder.check_data(tmp_path, dataset(), resumes=True)
    changed = dataset(**changes)
    with pytest.raises(ValueError, match=f"have changed: .*{message}"):
        run_folder.check_data(tmp_path, changed, resumes=True)
    # Before the first checkpoint nothing depends on the data.
    run_folder.check_data(tmp_path, changed, resumes=False)
    run_folder.check_data(tmp_path, changed, resumes=True)
