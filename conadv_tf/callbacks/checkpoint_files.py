"""Lists, verifies and removes the files of checkpoints."""

import os
import re
from typing import Union
import warnings

import tensorflow as tf

PREFIX = "ckpt"
_LIST = "checkpoint"  # The name that TensorFlow gives it.
# TensorFlow and `remove_after` would match other files than those of a run.
_PATTERN_CHARACTERS = "*?[\\"


def verify(path: str) -> None:
    """Reads a whole checkpoint, which verifies the checksum of each tensor.

    Args:
      path: prefix of its files.

    Raises:
      ValueError: if the checkpoint cannot be read.
    """
    try:
        reader = tf.train.load_checkpoint(path)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, ValueError, RuntimeError, IndexError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"Checkpoint {path!r} is damaged or incomplete ({reason})."
        ) from error


def check_nothing_is_lost(paths: list[list[str]], problem: str) -> None:
    """Raises a ValueError if all checkpoints of a run are damaged.

    It only warns if all of them are unfinished: their writing was interrupted
    before TensorFlow wrote the index, which it writes last. Such a run has lost
    nothing that was saved.

    Args:
      paths: for each step, the prefixes of the files of all processes.
      problem: error message of one of the checkpoints.
    """
    if not all(any(map(_is_unfinished, step)) for step in paths):
        directory = os.path.dirname(paths[-1][0])
        raise ValueError(f"No checkpoint in {directory!r} is whole. {problem}")
    warnings.warn(
        f"{problem} There is no earlier one: training starts from scratch.",
        RuntimeWarning,
    )


def _is_unfinished(path: str) -> bool:
    index = f"{path}.index"
    return not tf.io.gfile.exists(index) or not tf.io.gfile.stat(index).length


def check_writable(directory: Union[str, os.PathLike]) -> None:
    """Creates a folder and writes a file to it, before training takes hours.

    Args:
      directory: folder or bucket.

    Raises:
      ValueError: if that fails, for lack of permission or space, or because a
        file has that name; or if TensorFlow cannot read checkpoints there.
    """
    directory = str(directory)
    if set(_PATTERN_CHARACTERS) & set(directory):
        raise ValueError(
            f"Expected a folder of checkpoints without {_PATTERN_CHARACTERS} "
            f"in its path; received {directory!r}. TensorFlow reads the path "
            "as a pattern for several files. Choose another name."
        )
    probe = os.path.join(directory, f".probe_{os.getpid()}")
    try:
        tf.io.gfile.makedirs(directory)
        with tf.io.gfile.GFile(probe, "wb") as file:
            file.write(b"\0" * 65536)
        tf.io.gfile.remove(probe)
    except (tf.errors.OpError, OSError) as error:
        raise ValueError(
            f"Cannot write to {directory!r}: {str(error).splitlines()[0]}. "
            "Choose a folder with free space that this user may write to."
        ) from error


def remove_after(directory: str, step: int, keep_whole: bool) -> None:
    """Removes the checkpoints of later steps in a folder.

    Args:
      directory: folder of checkpoints.
      step: the last step to keep.
      keep_whole: whether to keep later checkpoints that can be read, because
        the fault that made them unreadable has passed.
    """
    for later in steps_in(directory):
        path = os.path.join(directory, f"{PREFIX}-{later}")
        if later <= step or (keep_whole and _is_whole(path)):
            continue
        for kind in ("index", "data*"):
            for name in tf.io.gfile.glob(f"{path}.{kind}"):
                tf.io.gfile.remove(name)


def _is_whole(path: str) -> bool:
    try:
        verify(path)
    except ValueError:
        return False
    return True


def check_list(directory: str) -> None:
    """Checks the list of checkpoints that TensorFlow keeps in a folder.

    TensorFlow would remove any checkpoint in this list after some saves. It
    refuses a folder with a damaged list, although the checkpoints are found
    without one. A damaged list is removed; the next save writes it again.

    Raises:
      ValueError: if the list is not that of `Checkpoints`.
    """
    path = os.path.join(directory, _LIST)
    try:
        state = tf.train.get_checkpoint_state(directory)
    except ValueError as error:
        if not steps_in(directory):
            raise ValueError(
                f"Expected a list of checkpoints in {path!r}; received another "
                f"file ({error}). Choose another directory, or move the file."
            ) from error
        warnings.warn(
            f"{path!r} is damaged and is replaced ({error}).", RuntimeWarning
        )
        tf.io.gfile.remove(path)
        return
    listed = state.all_model_checkpoint_paths if state else ()
    names = [os.path.relpath(each, directory) for each in listed]
    others = [
        each for each in names if not re.fullmatch(rf"{PREFIX}-\d+", each)
    ]
    if others:
        raise ValueError(
            f"Expected no other checkpoints in {directory!r}; {_LIST} lists "
            f"{others[:3]}, which would be removed. Choose another directory."
        )


def steps_in(directory: str) -> list[int]:
    """Returns the steps with any file of a checkpoint, in ascending order."""
    if not tf.io.gfile.isdir(directory):
        return []
    pattern = re.compile(rf"{PREFIX}-(\d+)\.(index|data)")
    matches = map(pattern.match, tf.io.gfile.listdir(directory))
    return sorted({int(match[1]) for match in matches if match})
