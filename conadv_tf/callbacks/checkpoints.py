"""Checkpoints from which a run goes on as if it had not been stopped."""

import os
from typing import Any
from typing import Optional
from typing import Union
import warnings

import numpy as np
import tensorflow as tf

from conadv_tf import distribution
from conadv_tf import keras_internals
from conadv_tf.callbacks import checkpoint_files
from conadv_tf.callbacks import checkpoint_state


class Checkpoints(keras_internals.Callback):
    """Saves a `ConAdvModel`'s training and continues it exactly.

    A checkpoint has the weights, the optimizer, counters, stale weights, the
    pending batch of every replica, the metrics of the epoch so far and the
    position: everything but the dataset, which must begin at `position`; see
    `data.resume_at`. One is written after every `every_steps` batches and at
    the end of each epoch, after its validation.

    Each of several processes writes its own to `worker_<i>`; all must see the
    same folder, and continue from the last step that all have. One process
    that drives other hosts, as on a TPU slice, writes and reads all files on
    its own host: only there the folder has to be.

    A save copies everything of that moment to host memory; files are written
    from the copy while training goes on. `wait` waits for them, as the next
    save and the end of training do. Of several processes each writes before it
    goes on: a copy of a moving statistic would need all of them.

    Args:
      directory: folder or bucket of the checkpoints.
      every_steps: batches between two checkpoints; None is only at the end of
        epochs. Needs data whose number of batches Keras knows.
      keep: how many of the last checkpoints are kept.
      restore: whether training begins where the last good checkpoint ends;
        False starts anew and refuses a folder that has any.
      strategy: the `tf.distribute.Strategy` of the model; needed where it
        spans several processes.

    Raises:
      ValueError: if a number is < 1, if there are checkpoints and `restore`
        is False, or if the directory cannot be written.
    """

    def __init__(
        self,
        directory: Union[str, os.PathLike],
        every_steps: Optional[int] = None,
        keep: int = 3,
        restore: bool = False,
        strategy: Optional[tf.distribute.Strategy] = None,
    ) -> None:
        super().__init__()
        for name, value in (("every_steps", every_steps), ("keep", keep)):
            if value is not None and value < 1:
                raise ValueError(f"Expected {name} >= 1; received {value!r}.")
        self.directory = os.fspath(directory)
        self.every_steps = every_steps
        self.keep = keep
        self.restore = restore
        self._worker = distribution.worker_index_and_count(strategy)
        checkpoint_files.check_writable(self.directory)
        if not restore and self._steps():
            raise ValueError(
                f"{self.directory!r} has checkpoints of steps "
                f"{self._steps()}. Pass restore=True to continue from them, or "
                "choose another directory."
            )
        self._found: Optional[tuple[int, checkpoint_state.Values]] = None
        self._searched = False
        # Prefixes of files: being written, if any, and written last.
        self._writing: Optional[str] = None
        self._written: Optional[str] = None

    @property
    def position(self) -> tuple[int, int]:
        """(epoch, batch) at which training begins; (0, 0) without checkpoint.

        Looks for the last good checkpoint, with a warning for each bad one.
        """
        values = self._last_good()
        if values is None:
            return 0, 0
        epoch, batch = values[1]["position"][0]
        return int(epoch), int(batch)

    def on_train_begin(self, logs: Optional[dict[str, Any]] = None) -> None:
        """Restores the last good checkpoint."""
        strategy = self.model.distribute_strategy
        worker = distribution.worker_index_and_count(strategy)
        if worker != self._worker:
            raise ValueError(
                "Expected the strategy of the model, which has "
                f"{worker[1]} processes; received one with {self._worker[1]}. "
                "Pass strategy=model.distribute_strategy."
            )
        found = self._last_good()
        self._epoch, self._batch = self.position
        self._manager = self._make_manager()
        # Not at once: other processes may still be looking at them.
        self._remove_later = found is not None
        if found is None:
            return
        step, values = found
        model = self.model
        with model.distribute_strategy.scope():
            keras_internals.create_slots(
                model.optimizer, model.trainable_variables
            )
        status = self._manager.checkpoint.restore(
            self._path(step, self._worker[0]), self._file_options()
        )
        status.assert_existing_objects_matched()
        checkpoint_state.write(model, values)
        keras_internals.begin_training_at(model, self._epoch, self._batch)

    def on_epoch_begin(
        self, epoch: int, logs: Optional[dict[str, Any]] = None
    ) -> None:
        """Restores the metrics of an epoch that was left in its middle."""
        if self._found is not None and self._batch:
            checkpoint_state.write_metrics(self.model, self._found[1])
        self._epoch, self._saved_at = epoch, self._batch
        self._batch = 0

    def on_train_batch_end(
        self, batch: int, logs: Optional[dict[str, Any]] = None
    ) -> None:
        """Saves now and then; `batch` is the last of a call of several."""
        self._now = batch + 1
        if (
            self.every_steps
            and self._now // self.every_steps
            > self._saved_at // self.every_steps
            and self.can_save
        ):
            self.save()

    @property
    def can_save(self) -> bool:
        """Whether a run can continue from here: in the middle of an epoch."""
        steps = (self.params or {}).get("steps")
        return steps is not None and self._now < steps

    def on_epoch_end(
        self, epoch: int, logs: Optional[dict[str, Any]] = None
    ) -> None:
        """Saves the end of the epoch, its validation included."""
        self._epoch, self._now = epoch + 1, 0
        self.save()

    def on_train_end(self, logs: Optional[dict[str, Any]] = None) -> None:
        """Waits for the last files."""
        self.wait()

    def save(self) -> int:
        """Saves this moment, between two batches.

        Returns:
          Its number: batches since the start of training.

        Raises:
          OSError: if the checkpoint before could not be written.
        """
        self.wait()
        step = self._total_batches()
        values = checkpoint_state.read(self.model)
        values["position"] = [np.array([self._epoch, self._now], np.int64)]
        self._local.values = values
        # Damaged ones, which were passed over.
        if self._found is not None and self._remove_later:
            checkpoint_files.remove_after(
                self._manager.directory, self._found[0]
            )
        self._writing = self._start_writing(step)
        self._remove_later = False
        self._saved_at = self._now
        return step

    def wait(self) -> None:
        """Waits until the last checkpoint saved is whole.

        Raises:
          OSError: if it could not be written.
        """
        if self._writing is None:
            return
        self._manager.sync()
        path, self._writing = self._writing, None
        if path == self._written:
            return
        try:  # TensorFlow tells the error of a write at the next one.
            self._start_writing(self._total_batches())
        except tf.errors.OpError as error:
            raise OSError(
                f"Checkpoint {path!r} could not be written ({error.message}). "
                "Look for space and permission, then continue from the one "
                "before it."
            ) from error

    def _start_writing(self, step: int) -> str:
        return self._manager.save(
            checkpoint_number=step,
            options=self._file_options(
                experimental_enable_async_checkpoint=self._worker[1] == 1,
                experimental_write_callbacks=[self._note_written],
            ),
        )

    def _file_options(self, **options: Any) -> tf.train.CheckpointOptions:
        if self._worker[1] == 1:  # Not each host that a variable lies on.
            options["experimental_io_device"] = "/job:localhost"
        return tf.train.CheckpointOptions(**options)

    def _note_written(self, path: str) -> None:
        self._written = path

    def _total_batches(self) -> int:
        steps = (self.params or {}).get("steps")
        if steps is None:
            return self._epoch
        return self._epoch * steps + self._now

    # --- Files ---------------------------------------------------------------

    def _make_manager(self) -> tf.train.CheckpointManager:
        self._local = checkpoint_state.Arrays()
        # Reading a moving mean to save it adds up over all processes, so that
        # every process has to save the weights, not only the first.
        return tf.train.CheckpointManager(
            tf.train.Checkpoint(
                network=self.model.network,
                optimizer=self.model.optimizer,
                local=self._local,
            ),
            self._folder(self._worker[0]),
            self.keep,
            checkpoint_name=checkpoint_files.PREFIX,
        )

    def _folder(self, worker: int) -> str:
        if self._worker[1] == 1:
            return self.directory
        return os.path.join(self.directory, f"worker_{worker}")

    def _path(self, step: int, worker: int) -> str:
        return os.path.join(
            self._folder(worker), f"{checkpoint_files.PREFIX}-{step}"
        )

    def _steps(self) -> list[int]:
        """Steps of which any process has a file, ascending."""
        steps = set()
        for worker in range(self._worker[1]):
            steps.update(checkpoint_files.steps_in(self._folder(worker)))
        return sorted(steps)

    def _last_good(self) -> Optional[tuple[int, checkpoint_state.Values]]:
        """(step, values) of the last checkpoint that all processes have.

        Each process reads the files of all, so that all decide alike.
        """
        if not self.restore or self._searched:
            return self._found
        index, count = self._worker
        fault = None
        for step in reversed(self._steps()):
            path = self._path(step, index)
            if fault is not None:
                warnings.warn(
                    f"{fault} Trying {path!r} instead.", RuntimeWarning
                )
            try:
                for worker in range(count):
                    checkpoint_files.verify(self._path(step, worker))
            except ValueError as error:
                fault = str(error)
                continue
            local = checkpoint_state.Arrays()
            part = tf.train.Checkpoint(local=local)
            part.restore(path, self._file_options()).expect_partial()
            self._found = step, local.values or {}
            break
        else:
            checkpoint_files.check_none_was_whole(
                [
                    [self._path(step, worker) for worker in range(count)]
                    for step in self._steps()
                ],
                fault,
            )
        self._searched = True
        return self._found
