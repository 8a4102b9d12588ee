"""Shows the progress of a run: a line for each epoch, and a progress bar."""

import math
import sys
import time

from tqdm import tqdm

from conadv_tf import keras_internals

# {title of a column: (name in the logs, format of its numbers)}.
_COLUMNS = {
    "loss": ("loss", "8.4f"),
    "accuracy": ("accuracy", "8.2%"),
    "adversarial": ("adversarial_accuracy", "11.2%"),
    "validation": ("val_accuracy", "10.2%"),
    "images/s": ("images_per_second", "9,.0f"),
}


class EpochLines(keras_internals.Callback):
    """Prints a line of at most 80 characters for each epoch.

    A line has the loss, the accuracies, the throughput and the time left of the
    run; history.csv has all numbers. A terminal also shows a progress bar for
    the current epoch. If the step is a `ca.Delayed`, a line says when its
    attack starts. Add this callback after the callbacks that write to the logs.

    Args:
      stream: file to write to; standard output if None.
      clock: function that returns seconds.
    """

    def __init__(self, stream=None, clock=time.monotonic):
        super().__init__()
        self._stream = stream or sys.stdout
        self._clock = clock
        self._has_header = False

    def on_train_begin(self, logs=None):
        """Forgets the times of an earlier `fit`."""
        self._restart()

    def on_epoch_begin(self, epoch, logs=None):
        """Shows an empty bar."""
        self._epoch = epoch
        self._bar = tqdm(
            total=self.params["steps"],
            desc=f"epoch {epoch + 1}/{self.params['epochs']}",
            bar_format="{desc} |{bar}| {n_fmt}/{total_fmt} batches{postfix}",
            file=self._stream,
            disable=not self._stream.isatty(),
            dynamic_ncols=True,
            leave=False,
        )

    def on_train_batch_end(self, batch, logs=None):
        """Updates the bar."""
        steps = self._epoch * self.params["steps"] + batch + 1
        if self._first is None:
            # The batches before, which were compiled, say nothing about speed.
            self._first = steps, self._clock()
        self._steps = steps
        if not self._bar.disable:
            left = self._time_left()
            self._bar.set_postfix_str(left and f"{left} left", refresh=False)
            self._bar.update(batch + 1 - self._bar.n)

    def on_epoch_end(self, epoch, logs=None):
        """Prints the line of the epoch."""
        self._bar.close()
        epochs = str(self.params["epochs"])
        number = f"{epoch + 1:>{len(epochs)}}/{epochs}"
        width = max(2 * len(epochs) + 1, len("epoch"))
        cells = [number.rjust(width)]
        cells += [
            _cell((logs or {}).get(name), form)
            for name, form in _COLUMNS.values()
        ]
        left = "" if epochs == str(epoch + 1) else self._time_left() or "-"
        if not self._has_header:
            self._has_header = True
            titles = [
                title.rjust(len(cell))
                for title, cell in zip(["epoch", *_COLUMNS], cells)
            ]
            self._print("  ".join([*titles, "time left"]))
        self._print("  ".join([*cells, f"{left:>9}"]).rstrip())
        # Only `ca.Delayed` logs whether it attacks.
        attacked = (logs or {}).get("attacked")
        if attacked == 0.0 and self.model.runner.has_started:
            self._print(f"the attack starts: after epoch {epoch + 1}")
            self._restart()  # A step now takes longer.

    def _restart(self):
        """Measures the time of a batch again, without the first call."""
        self._first, self._steps = None, 0

    def _time_left(self):
        """Returns the time that the run still needs, or "" if unknown."""
        first, start = self._first
        if self._steps == first:
            return ""
        per_step = (self._clock() - start) / (self._steps - first)
        total = self.params["epochs"] * self.params["steps"]
        return tqdm.format_interval(per_step * (total - self._steps))

    def _print(self, line):
        print(line, file=self._stream, flush=True)


def _cell(value, form):
    """Formats a number for a column, or "-" if there is none."""
    width = form.partition(".")[0].rstrip(",")
    if value is None or not math.isfinite(value):
        return f"{'-' if value is None else value:>{width}}"
    text = format(value, form)
    # A loss that diverges.
    return text if len(text) <= int(width) else f"{value:{width}.1e}"
