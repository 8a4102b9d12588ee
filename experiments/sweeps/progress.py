"""Displays the progress of a sweep."""

import sys
import time

from tqdm import tqdm


class Progress:
    """Prints a line for each finished run; a terminal also shows the others.

    Args:
      total: int, number of runs.
      num_done: int, number of runs that were finished before.
      title: text before the count, or "".
      stream: file to write to; standard output if None.
    """

    def __init__(self, total, num_done=0, title="", stream=None):
        self._stream = stream or sys.stdout
        self._title = title
        self._num_done_before = num_done
        self._start = time.monotonic()
        self._bar = tqdm(
            total=total,
            initial=num_done,
            desc=title,
            bar_format="{desc}[{n}/{total}] {remaining} left{postfix}",
            file=self._stream,
            disable=not self._stream.isatty(),
            dynamic_ncols=True,
            leave=False,
            smoothing=0,  # Estimates the time left from all runs.
        )

    def report_done(self, text):
        """Prints the result of a run that has ended, and the time left."""
        self._bar.n += 1
        done, total = self._bar.n, self._bar.total
        line = f"{self._title}[{done}/{total}] {text}"
        if done < total:
            per_run = time.monotonic() - self._start
            per_run /= done - self._num_done_before
            left = tqdm.format_interval(per_run * (total - done))
            line += f", {left} left"
        tqdm.write(line, file=self._stream)
        self._stream.flush()

    def refresh(self, running):
        """Shows the running runs if the stream is a terminal.

        Args:
          running: {name: seconds since the start}.
        """
        self._bar.set_postfix_str(
            ", ".join(f"{name} ({s:.0f} s)" for name, s in running.items())
        )

    def close(self):
        """Clears the line of the running runs."""
        self._bar.close()
