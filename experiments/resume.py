"""Runs that go on: checkpoints, preemption, what an earlier start left."""

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
    "Batches between two checkpoints; 0 is at the end of each epoch.",
    lower_bound=0,
)
flags.DEFINE_integer(
    "keep_checkpoints",
    3,
    "How many of the last checkpoints are kept; 0 writes none.",
    lower_bound=0,
)
flags.DEFINE_bool(
    "resume",
    False,
    "Continue the run in --model_dir, with the same other flags; if it is "
    "finished, print its summary.",
)

# EX_TEMPFAIL: start it again.
PREEMPTED = 75


class Preempted(Exception):
    """The machine is about to go away."""


class SavesOnSignal(keras_internals.Callback):
    """On SIGTERM or Ctrl-C saves after the batch, and raises `Preempted`.

    A second Ctrl-C ends at once.

    Args:
      checkpoints: a `ca.Checkpoints` of the same `fit`, or None.
      alone: whether this process trains alone. Of several one may be told
        and others not, and saving takes all: then only the end of an epoch
        saves.
    """

    def __init__(self, checkpoints, alone=True):
        super().__init__()
        self._alone = alone
        self._checkpoints = checkpoints
        self._received = False

    def on_train_begin(self, logs=None):
        """Waits for the signals."""
        self._before = {
            number: signal.signal(number, self._note)
            for number in (signal.SIGTERM, signal.SIGINT)
        }

    def on_train_end(self, logs=None):
        """Leaves the signals to whom they were."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def on_train_batch_end(self, batch, logs=None):
        """Saves where a run can continue; else an epoch's end does it."""
        if self._received and self._can_save():
            self._checkpoints.save()
            self._checkpoints.wait()
            raise Preempted

    def on_epoch_end(self, epoch, logs=None):
        """`Checkpoints`, which comes before, has saved."""
        if self._received:
            if self._checkpoints is not None:
                self._checkpoints.wait()
            raise Preempted

    def _can_save(self):
        return (
            self._alone
            and self._checkpoints is not None
            and self._checkpoints.can_save
        )

    def _note(self, number, frame):
        self._received = True
        if number == signal.SIGINT:
            signal.signal(number, self._before[number])
            print("\nstopping where the run can continue; Ctrl-C ends at once")


def exclusive_run(model_dir):
    """A context in which no other process trains in a run's folder.

    Raises:
      ValueError: if one does.
    """
    return lock.exclusive(
        model_dir / "config.json",
        lambda content: (
            f"Another process is training in --model_dir={model_dir}. Wait "
            "for it, or stop it."
        ),
    )


def check_flags():
    """Raises a ValueError where there are no checkpoints to speak of."""
    if FLAGS.keep_checkpoints:
        return
    for flag in ("resume", "checkpoint_every"):
        if FLAGS[flag].value:
            raise ValueError(
                f"Expected --keep_checkpoints above 0 with --{flag}; received "
                "0, which writes no checkpoints and reads none."
            )


def preempted(model_dir):
    """Says how to continue, and ends the process."""
    print(
        f"preempted; continue with: {' '.join(sys.argv)} --resume"
        + ("" if FLAGS.model_dir else f" --model_dir={model_dir}"),
        flush=True,
    )
    sys.exit(PREEMPTED)


def checkpoints(model_dir, strategy):
    """The `ca.Checkpoints` of the flags, or None."""
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
    """The folder of a run to continue, and its summary if it is finished.

    Args:
      name: --model_dir.
      config: the `RunConfig` of the flags.

    Returns:
      (its path, summary or None).

    Raises:
      ValueError: if there is no run, or one with another configuration.
    """
    if name is None:
        raise ValueError("--resume needs the --model_dir of the run.")
    path = paths.as_path(name)
    try:
        before = results.read_json(path / "config.json")
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--model_dir={name} holds no run to continue ({error})."
        ) from error
    differing = config_fields.differences(config_lib.from_dict(before), config)
    if differing:
        raise ValueError(
            f"The run in --model_dir={name} has another configuration: "
            + "; ".join(differing)
            + ". Give the same flags, or choose a new folder."
        )
    check_writable(path)
    summary = path / "summary.json"
    return path, results.read_json(summary) if summary.exists() else None


def last_row(path):
    """The last epoch's {name: number} in history.csv."""
    row = csv_file.read(path)[-1]
    return {name: float(value) for name, value in row.items() if value}
