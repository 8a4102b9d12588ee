"""One process at a time in a folder."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import tempfile
import time


@contextlib.contextmanager
def exclusive(path, refusal, patience=0.0):
    """Holds the lock of a file; it ends with the process, however that ends.

    A bucket has no locks. Of a file in one the lock is a file of this
    machine: processes here exclude each other, those of other machines do not.

    Args:
      path: of the file; is made, if on a disk. What it holds stays.
      refusal: function of what the locked file holds: the message if another
        process has the lock.
      patience: seconds to wait for it.

    Yields:
      The open file. Processes that inherit it hold the lock too.

    Raises:
      ValueError: if another process has it.
    """
    with open(_locked_file(path), "a+", encoding="utf-8") as file:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                file.seek(0)
                raise ValueError(refusal(file.read().strip())) from None
        yield file


def _locked_file(path):
    """The file itself, or one of this machine and user that stands for it."""
    if isinstance(path, pathlib.Path):
        return path
    address = hashlib.sha256(str(path).encode()).hexdigest()[:32]
    name = f"conadv_tf_{os.getuid()}_{address}.lock"
    return pathlib.Path(tempfile.gettempdir()) / name
