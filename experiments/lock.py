"""Locks that let one process at a time work in a folder."""

import contextlib
import errno
import fcntl
import hashlib
import os
import pathlib
import tempfile
import time
import warnings

# Errors of file systems that have no locks, for example Lustre and some NFS.
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextlib.contextmanager
def exclusive(path, refusal, patience=0.0):
    """Holds the lock of a file. The lock ends with the process at the latest.

    Buckets and some file systems have no locks. The lock of a file there is a
    local file of this machine: it excludes processes of this machine but not
    of others. A warning names a file system without locks.

    Args:
      path: path of the lock file, which nothing may replace. A local file is
        created if it does not exist; its content stays as it is.
      refusal: function that maps the content of the lock file to an error
        message, for the case that another process holds the lock.
      patience: seconds to wait for the lock.

    Yields:
      The open lock file. Processes that inherit it hold the lock too.

    Raises:
      ValueError: if another process holds the lock.
      OSError: if the lock file cannot be opened or locked.
    """
    deadline = time.monotonic() + patience
    while True:
        file, held = _try_lock(path)
        if held:
            break
        with file:
            if time.monotonic() >= deadline:
                file.seek(0)
                raise ValueError(refusal(file.read().strip()))
        time.sleep(0.1)
    with file:
        yield file


def _try_lock(path):
    """Returns (open lock file, whether this process may continue)."""
    if not isinstance(path, pathlib.Path):
        return _lock(_local_file(path))
    try:
        return _lock(path)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(
            f"The file system of {path} has no locks ({error.strerror}). Only "
            "processes of this machine are kept apart. Start no second "
            "process in this folder on another machine.",
            RuntimeWarning,
        )
    try:
        return _lock(_local_file(path))
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return open(path, "a+", encoding="utf-8"), True


def _lock(path):
    """Does the same as `_try_lock` with a file on a disk that has locks."""
    while True:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open(path, "a+", encoding="utf-8"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stack.pop_all()
                return file, False
            # Another process may have removed the file since it was opened.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(path), os.fstat(file.fileno())):
                    stack.pop_all()
                    return file, True


def _local_file(path):
    """Returns the path of a file on this machine that stands for another."""
    address = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:32]
    name = f"conadv_tf_{os.getuid()}_{address}.lock"
    return pathlib.Path(tempfile.gettempdir()) / name
