"""Locks that let one process at a time work in a folder."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import tempfile
import time


@contextlib.contextmanager
def exclusive(path, refusal, patience=0.0):
    """Holds the lock of a file. The lock ends with the process at the latest.

    Buckets have no locks. The lock of a file in a bucket is a local file of
    this machine: it excludes processes of this machine but not of others.

    Args:
      path: path of the file. A local file is created if it does not exist; its
        content stays as it is.
      refusal: function that maps the content of the lock file to an error
        message, for the case that another process holds the lock.
      patience: seconds to wait for the lock.

    Yields:
      The open lock file. Processes that inherit it hold the lock too.

    Raises:
      ValueError: if another process holds the lock.
    """
    with open(_lock_file(path), "a+", encoding="utf-8") as file:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    file.seek(0)
                    raise ValueError(refusal(file.read().strip())) from None
                time.sleep(0.1)
        yield file


def _lock_file(path):
    """Returns the path itself, or a local file that stands for a remote one."""
    if isinstance(path, pathlib.Path):
        return path
    address = hashlib.sha256(str(path).encode()).hexdigest()[:32]
    name = f"conadv_tf_{os.getuid()}_{address}.lock"
    return pathlib.Path(tempfile.gettempdir()) / name
