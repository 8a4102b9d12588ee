"""The files of checkpoints: which there are, whether they are whole."""

import os
import re
from typing import Optional
import warnings

import tensorflow as tf

PREFIX = "ckpt"


def verify(path: str) -> None:
    """Reads a whole checkpoint, which checks the checksum of every tensor.

    Args:
      path: prefix of its files.

    Raises:
      ValueError: if it cannot be read.
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


def check_none_was_whole(paths: list[list[str]], fault: Optional[str]) -> None:
    """Raises a ValueError if there were checkpoints, now damaged.

    Those whose writing was cut off, of which TensorFlow makes the index last,
    do not count: a run that has no others lost nothing that was saved.

    Args:
      paths: for each step the prefixes of the processes' files.
      fault: what is wrong with one of them; None where there are none.
    """
    if fault is None:
        return
    if all(any(map(_is_unfinished, step)) for step in paths):
        warnings.warn(
            f"{fault} There was none before: training begins anew.",
            RuntimeWarning,
        )
        return
    raise ValueError(
        f"No checkpoint in {os.path.dirname(paths[-1][0])!r} is whole. {fault}"
    )


def _is_unfinished(path: str) -> bool:
    index = f"{path}.index"
    return not tf.io.gfile.exists(index) or not tf.io.gfile.stat(index).length


def check_writable(directory: str) -> None:
    """Creates a folder and writes to it, before hours are spent.

    Args:
      directory: folder or bucket.

    Raises:
      ValueError: if that fails: no permission, no space, a file in the way.
    """
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


def remove_after(directory: str, step: int) -> None:
    """Removes the checkpoints of later steps in a folder."""
    for later in steps_in(directory):
        if later > step:
            for path in tf.io.gfile.glob(
                os.path.join(directory, f"{PREFIX}-{later}.*")
            ):
                tf.io.gfile.remove(path)


def steps_in(directory: str) -> list[int]:
    """Steps with any file of a checkpoint, ascending."""
    if not tf.io.gfile.isdir(directory):
        return []
    found = set()
    for name in tf.io.gfile.listdir(directory):
        match = re.match(rf"{PREFIX}-(\d+)\.(index|data)", name)
        if match:
            found.add(int(match[1]))
    return sorted(found)
