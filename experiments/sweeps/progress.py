"""What a sweep says while it runs."""

import shutil
import sys
import time


class Progress:
    """Prints a line for each cell that ends; on a terminal, what runs now too.

    Args:
      total: cells in all.
      done: cells that were finished before.
      title: word before the count.
    """

    def __init__(self, total, done=0, title="", stream=None):
        self._total = total
        self._done = done
        self._title = title
        self._stream = stream or sys.stdout
        self._ended = 0
        self._started = time.monotonic()
        self._width = 0

    def ended(self, text):
        """Notes that a cell ended.

        Args:
          text: what came out.
        """
        self._ended += 1
        self._done += 1
        self._clear()
        print(f"{self._head()} {text}{self._left()}", file=self._stream)
        self._stream.flush()

    def tick(self, running):
        """Shows what runs.

        Args:
          running: {name: seconds}.
        """
        if not running or not self._stream.isatty():
            return
        names = ", ".join(f"{n} ({s:.0f} s)" for n, s in running.items())
        line = f"{self._head()} running {names}{self._left()}"
        # A line that wraps could not be cleared.
        line = line[: shutil.get_terminal_size().columns - 1]
        self._clear()
        self._stream.write(line)
        self._stream.flush()
        self._width = len(line)

    def _head(self):
        return f"{self._title}[{self._done}/{self._total}]"

    def _left(self):
        if not self._ended or self._done == self._total:
            return ""
        seconds = time.monotonic() - self._started
        left = seconds / self._ended * (self._total - self._done)
        return f", {duration(left)} left"

    def _clear(self):
        if self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._width = 0


def duration(seconds):
    """About how long, as "40 s", "12 min" or "3.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
