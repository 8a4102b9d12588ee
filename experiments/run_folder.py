"""The folder of a run: created, locked, opened again, removed if unused."""

import contextlib
import dataclasses
import os
import socket

from conadv_tf import paths
from conadv_tf.callbacks import check_writable
from experiments import config_fields
from experiments import lock
from experiments import results

_LOCK = "run.lock"
_DATA = "data.json"


@contextlib.contextmanager
def new(name, config, keep_failed=False):
    """Creates the folder of a run and locks it.

    If the body fails before the first checkpoint, what this call has created
    is removed again, so that the corrected command can use the folder.

    Args:
      name: folder, address in a bucket, or None for a new folder in runs/.
      config: a `RunConfig`, which gives the default folder its name.
      keep_failed: whether the folder remains if the body fails.

    Yields:
      Path of a folder that contains config.json and the lock file only. It is
      never the folder of another run.

    Raises:
      ValueError: if the folder has files, cannot be written, or is used by
        another process.
    """
    path, created = _make(name, config)
    with contextlib.ExitStack() as stack:
        with _write_errors(path):
            # Before the lock, which writes a file, and again with it.
            _check_unused(path)
            stack.enter_context(exclusive(path))
            _check_unused(path)
        try:
            with _write_errors(path):
                results.write_json(
                    path / "config.json", dataclasses.asdict(config)
                )
            yield path
        except (ValueError, FloatingPointError, ImportError, OSError):
            if not keep_failed:
                # The error of the run is reported, not this one.
                with contextlib.suppress(OSError):
                    _remove_unused(path, created)
            raise


def _make(name, config):
    """Returns (path of an existing folder, whether this call created it)."""
    if name is not None:
        path = paths.as_path(name)
        with _write_errors(path):
            try:
                path.mkdir(parents=True)
                return path, True
            except FileExistsError:
                if path.is_dir():
                    return path, False
                raise
    stem = (
        f"{config.dataset_stem}_{config.method}_{config.global_batch_size}"
        f"_seed{config.seed}"
    )
    number = 1
    while True:
        path = paths.as_path("runs") / f"{stem}_{number}"
        with _write_errors(path), contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            return path, True
        number += 1


def _check_unused(path):
    if {each.name for each in path.iterdir()} - {_LOCK}:
        raise ValueError(
            f"--model_dir={path} already holds something, and a run is never "
            "overwritten. Choose a new folder, or remove this one."
        )


@contextlib.contextmanager
def existing(name, config, writes=True):
    """Opens and locks the folder of a run to continue.

    The folder of a finished run is neither locked nor changed.

    Args:
      name: value of --model_dir.
      config: the `RunConfig` of the flags.
      writes: whether this process writes the files that all processes share.

    Yields:
      (path of the folder, summary of the run or None if it is not finished).

    Raises:
      ValueError: if the folder has no run, has a run with another
        configuration, or is used by another process.
    """
    if name is None:
        raise ValueError(
            "Expected the --model_dir of the run with --resume; received none."
        )
    path = paths.as_path(name)
    try:
        before = results.read_config(path)
    except OSError as error:
        raise ValueError(
            f"--model_dir={name} holds no run to continue ({error})."
        ) from error
    differences = config_fields.differences(before, config)
    if differences:
        raise ValueError(
            f"The run in --model_dir={name} has another configuration: "
            + "; ".join(differences)
            + ". Give the same flags, or choose a new folder."
        )
    summary = results.read_summary(path)
    if summary is not None:
        yield path, summary
        return
    check_writable(path)
    with exclusive(path) if writes else contextlib.nullcontext():
        # Another process may have finished the run before this one locked it.
        yield path, results.read_summary(path)


def earlier_config(name):
    """Returns the `RunConfig` of the run in a folder; None without any.

    Args:
      name: value of --model_dir.
    """
    try:
        return (
            None if name is None else results.read_config(paths.as_path(name))
        )
    except (OSError, ValueError):  # `existing` reports it.
        return None


def check_data(path, dataset, resumes, writes=True):
    """Compares the dataset of a resumed run with that of its first part.

    Args:
      path: path of the folder of the run.
      dataset: a `ca.data.Dataset`.
      resumes: whether the run continues from a checkpoint. Otherwise the
        properties of the dataset are recorded.
      writes: whether this process writes the files that all processes share.

    Raises:
      ValueError: if the number of images, their shape or the classes differ.
    """
    now = {
        "training images": dataset.num_train,
        "test images": dataset.num_test,
        "image shape": list(dataset.image_shape),
        "number of classes": dataset.num_classes,
        "classes": list(dataset.class_names),
    }
    file = path / _DATA
    if not resumes or not file.exists():
        if writes:
            results.write_json(file, now)
        return
    before = results.read_json(file)
    differences = [
        f"{name} {_shorten(name, before, now)}"
        for name in now
        if name in before and before[name] != now[name]
    ]
    if differences:
        raise ValueError(
            f"The data of the run in --model_dir={path} have changed: "
            + "; ".join(differences)
            + ". Restore the data, or start a new run in a new folder."
        )


def _shorten(name, before, now):
    """Returns the difference of a property in words."""
    was, new = before[name], now[name]
    if name != "classes" or not isinstance(was, list):
        return f"{was} then, {new} now"
    removed = [each for each in was if each not in new]
    added = [each for each in new if each not in was]
    if not removed and not added:
        return "in another order"
    return f"removed {removed[:5]}, added {added[:5]}"


@contextlib.contextmanager
def exclusive(path):
    """Locks the folder of a run.

    Args:
      path: path of the folder.

    Raises:
      ValueError: on entry, if another process holds the lock.
      OSError: on entry, if the lock file cannot be written.
    """
    with lock.exclusive(
        path / _LOCK,
        lambda process: (
            f"Another process is training in --model_dir={path} "
            f"({process or 'unknown'}). Wait for it, or stop it."
        ),
    ) as file:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


def _remove_unused(path, created):
    """Removes what `new` and `check_data` wrote, unless there is more."""
    own = {"config.json", _DATA, _LOCK}
    checkpoints = path / "checkpoints"
    if {each.name for each in path.iterdir()} - own - {checkpoints.name}:
        return
    if checkpoints.exists():
        if any(checkpoints.iterdir()):
            return
        checkpoints.rmdir()
    for name in own:
        (path / name).unlink(missing_ok=True)
    if created:
        path.rmdir()


@contextlib.contextmanager
def _write_errors(path):
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"Cannot write to --model_dir={path}: {error}."
        ) from error
