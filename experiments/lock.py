"""One process at a time in a folder."""

import contextlib
import fcntl
import time


@contextlib.contextmanager
def held(path, refusal, patience=0.0):
    """Holds the lock of a file; it ends with the process, however that ends.

    Args:
      path: pathlib.Path of the file; is made. What it holds stays.
      refusal: function of what the file holds: the message if another process
        has the lock.
      patience: seconds to wait for it.

    Yields:
      The open file. Processes that inherit it hold the lock too.

    Raises:
      ValueError: if another process has it.
    """
    with open(path, "a+", encoding="utf-8") as file:
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
