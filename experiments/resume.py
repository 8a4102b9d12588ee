"""Checkpoints, signals and the folder of a run that is resumed."""

import signal
import sys

from absl import flags

import conadv_tf as ca
from conadv_tf import csv_file
from conadv_tf import keras_internals
from conadv_tf import paths
from conadv_tf.callbacks import check_writable
from experiments import config as config_lib
from experiments import config_fields
from experiments import lock
from experiments import results

FLAGS = flags.FLAGS
flags.DEFINE_integer(
    "checkpoint_every",
    0,
    "Batches between checkpoints; 0 saves at the end of each epoch.",
    lower_bound=0,
)
flags.DEFINE_integer(
    "keep_checkpoints",
    3,
    "Number of the latest checkpoints to keep; 0 saves none.",
    lower_bound=0,
)
flags.DEFINE_bool(
    "resume",
    False,
    "Continue the run in --model_dir, given the same other flags. If the run "
    "is finished, print its summary.",
)

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
      checkpoints: the `ca.Checkpoints` of the same `fit`, or None. It must
        come before this callback.
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
        if self._received and self._alone and checkpoints is not None:
            if checkpoints.can_save:
                checkpoints.save()
                self._preempt()

    def on_epoch_end(self, epoch, logs=None):
        """Stops after a signal; `Checkpoints` has saved the epoch before."""
        if self._received:
            self._preempt()

    def _preempt(self):
        if self._checkpoints is not None:
            self._checkpoints.wait()
        raise Preempted

    def _note(self, number, frame):
        self._received = True
        if number == signal.SIGINT:
            signal.signal(number, self._before[number])
            print("\nstopping where the run can continue; Ctrl-C ends at once")


def exclusive_run(model_dir):
    """Returns a context in which no other process trains in the same folder.

    Args:
      model_dir: path of the folder of the run.

    Raises:
      ValueError: on entry, if another process trains in the folder.
    """
    return lock.exclusive(
        model_dir / "config.json",
        lambda content: (
            f"Another process is training in --model_dir={model_dir}. Wait "
            "for it, or stop it."
        ),
    )


def check_flags():
    """Raises a ValueError for flags that require checkpoints without any."""
    for flag in ("resume", "checkpoint_every"):
        if FLAGS[flag].value and not FLAGS.keep_checkpoints:
            raise ValueError(
                f"Expected --keep_checkpoints above 0 with --{flag}; received "
                "0, with which no checkpoints are written or read."
            )


def preempted(model_dir):
    """Prints the command that continues the run and exits."""
    print(
        f"preempted; continue with: {' '.join(sys.argv)} --resume"
        + ("" if FLAGS.model_dir else f" --model_dir={model_dir}"),
        flush=True,
    )
    sys.exit(PREEMPTED)


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


def open_model_dir(name, config):
    """Opens the folder of a run to continue.

    Args:
      name: value of --model_dir.
      config: the `RunConfig` of the flags.

    Returns:
      (path of the folder, summary of the run or None if it is not finished).

    Raises:
      ValueError: if the folder has no run, or a run with another
        configuration.
    """
    if name is None:
        raise ValueError(
            "Expected the --model_dir of the run with --resume; received none."
        )
    path = paths.as_path(name)
    try:
        before = results.read_json(path / "config.json")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--model_dir={name} holds no run to continue ({error})."
        ) from error
    differences = config_fields.differences(
        config_lib.from_dict(before), config
    )
    if differences:
        raise ValueError(
            f"The run in --model_dir={name} has another configuration: "
            + "; ".join(differences)
            + ". Give the same flags, or choose a new folder."
        )
    check_writable(path)
    summary = path / "summary.json"
    return path, results.read_json(summary) if summary.exists() else None


def last_row(path):
    """Returns {name: number} of the last epoch in a history.csv."""
    row = csv_file.read(path)[-1]
    return {name: float(value) for name, value in row.items() if value}
