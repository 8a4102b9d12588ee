"""Checkpoints, signals and the folder of a run that is resumed."""

import shlex
import signal
import sys

from absl import flags

import conadv_tf as ca
from conadv_tf import csv_file
from conadv_tf import keras_internals
from experiments import command_line

FLAGS = flags.FLAGS
# EX_TEMPFAIL: the process can be started again.
PREEMPTED = 75


class Preempted(Exception):
    """Raised when a signal has stopped the training."""


class SavesOnSignal(keras_internals.Callback):
    """Saves a checkpoint on SIGTERM or Ctrl-C and raises `Preempted`.

    The checkpoint is saved after the current batch if the run can continue
    from there, otherwise at the end of the epoch. A second Ctrl-C ends the
    process at once.

    Args:
      checkpoints: the `ca.Checkpoints` of the same `fit`, which must come
        before this callback.
      alone: whether this process trains alone. A signal may reach only some of
        several processes, but saving needs all of them, so that then only the
        end of an epoch saves.
    """

    def __init__(self, checkpoints, alone=True):
        super().__init__()
        self._alone = alone
        self._checkpoints = checkpoints
        self._received = False

    def on_train_begin(self, logs=None):
        """Installs the signal handlers."""
        self._before = {
            number: signal.signal(number, self._note)
            for number in (signal.SIGTERM, signal.SIGINT)
        }

    def on_train_end(self, logs=None):
        """Restores the previous signal handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def on_train_batch_end(self, batch, logs=None):
        """Saves and stops after a signal if the run can continue from here."""
        checkpoints = self._checkpoints
        if self._received and self._alone and checkpoints.can_save:
            checkpoints.save()
            self._preempt()

    def on_epoch_end(self, epoch, logs=None):
        """Stops after a signal; `Checkpoints` has saved the epoch before."""
        if self._received:
            self._preempt()

    def _preempt(self):
        self._checkpoints.wait()
        raise Preempted

    def _note(self, number, frame):
        self._received = True
        if number == signal.SIGINT:
            signal.signal(number, self._before[number])
            print("\nstopping where the run can continue; Ctrl-C ends at once")


def preempted(model_dir):
    """Prints the command that continues the run and exits."""
    command = [*command_line.command(from_any_folder=True), *sys.argv[1:]]
    if not FLAGS.model_dir:
        command.append(f"--model_dir={model_dir}")
    if not FLAGS.resume:
        command.append("--resume")
    print(f"preempted; continue with: {shlex.join(command)}", flush=True)
    sys.exit(PREEMPTED)


def callbacks(checkpoints, alone):
    """Returns the callbacks that save, for `fit`.

    Without checkpoints there are none, so that a signal ends the process at
    once.

    Args:
      checkpoints: a `ca.Checkpoints` or None.
      alone: whether this process trains alone.
    """
    if checkpoints is None:
        return []
    return [checkpoints, SavesOnSignal(checkpoints, alone)]


def checkpoints(model_dir, strategy):
    """Returns the `ca.Checkpoints` that the flags describe, or None."""
    if not FLAGS.keep_checkpoints:
        return None
    return ca.Checkpoints(
        model_dir / "checkpoints",
        FLAGS.checkpoint_every or None,
        FLAGS.keep_checkpoints,
        restore=FLAGS.resume,
        strategy=strategy,
    )


def history(path):
    """Returns the logs in a history.csv: {epoch: {name: number}}.

    The result is empty if the file has been removed.
    """
    rows = csv_file.read_numbers(path, ["epoch"]) if path.exists() else []
    return {int(row["epoch"]): row for row in rows}
