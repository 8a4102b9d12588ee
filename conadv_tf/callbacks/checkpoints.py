"""Checkpoints from which a run resumes as if it had not been interrupted."""

import os
from typing import Any
from typing import Optional
from typing import Union
import warnings

import tensorflow as tf

from conadv_tf import distribution
from conadv_tf import keras_internals
from conadv_tf import keras_optimizers
from conadv_tf import paths
from conadv_tf.callbacks import checkpoint_files
from conadv_tf.callbacks import checkpoint_state


class Checkpoints(keras_internals.Callback):
    """Saves the training of a `ConAdvModel` and resumes it exactly.

    A checkpoint has the weights, the optimizer, counters, stale weights, the
    pending batch of each replica, the metrics of the epoch so far and the
    position. It does not have the dataset, which must start at `position` (see
    `data.resume_at`). A checkpoint is written after every `every_steps` batches
    and at the end of each epoch, after its validation.

    If there are several processes, each writes its checkpoints to `worker_<i>`.
    All processes must see the same folder, and resume from the last step that
    all of them have saved. A single process that controls other hosts, as on a
    TPU slice, reads and writes all files on its own host, so the folder is
    needed only there.

    `save` copies the state to host memory, and files are written from the copy
    while training continues. `wait` waits for them, and so do the next save and
    the end of training. With several processes, or with mixed precision, files
    are written before training continues.

    Args:
      directory: folder or bucket of the checkpoints.
      every_steps: batches between two checkpoints; None saves only at the end
        of epochs. Requires data whose number of batches Keras knows.
      keep: number of checkpoints to keep, the last ones.
      restore: whether training resumes at the last good checkpoint. False
        starts from scratch and refuses a folder with checkpoints.
      strategy: the `tf.distribute.Strategy` of the model; required if it spans
        several processes.

    Raises:
      ValueError: if a number is < 1, if there are checkpoints of others, or
        any and `restore` is False, or if the directory cannot be written.
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
        self.directory = os.fspath(paths.as_path(directory))
        self.every_steps = every_steps
        self.keep = keep
        self.restore = restore
        self._worker = distribution.worker_index_and_count(strategy)
        checkpoint_files.check_writable(self.directory)
        checkpoint_files.check_list(self._folder(self._worker[0]))
        if not restore and self._steps():
            raise ValueError(
                "Expected a directory without checkpoints; received "
                f"{self.directory!r} with checkpoints of steps "
                f"{self._steps()}. Pass restore=True to resume from them, or "
                "choose another directory."
            )
        self._found: Optional[tuple[int, checkpoint_state.Values]] = None
        self._searched = False
        # Prefixes of the files being written, if any, and written last.
        self._writing: Optional[str] = None
        self._written: Optional[str] = None

    @property
    def position(self) -> tuple[int, int]:
        """(epoch, batch) at which training starts; (0, 0) without checkpoint.

        Finds the last good checkpoint, and warns about each damaged one.
        """
        found = self._last_good()
        return checkpoint_state.position(found[1]) if found else (0, 0)

    def on_train_begin(self, logs: Optional[dict[str, Any]] = None) -> None:
        """Restores the last good checkpoint."""
        strategy = self.model.distribute_strategy
        worker = distribution.worker_index_and_count(strategy)
        if worker != self._worker:
            raise ValueError(
                "Expected the strategy of the model, with "
                f"{worker[1]} processes; received one with {self._worker[1]}. "
                "Pass strategy=model.distribute_strategy."
            )
        found = self._last_good()
        self._epoch, self._batch = self.position
        self._manager = self._make_manager()
        # Not now, because other processes may still be reading them.
        self._resumed_at = found[0] if found else None
        if found is None:
            return
        step, values = found
        checkpoint_state.check_epoch_length(values, self._length)
        model = self.model
        with model.distribute_strategy.scope():
            keras_optimizers.create_slots(
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
        """Restores the metrics of an interrupted epoch."""
        if self._found is not None and self._batch:
            checkpoint_state.write_metrics(self.model, self._found[1])
        self._epoch, self._saved_at = epoch, self._batch
        self._batch = 0

    def on_train_batch_end(
        self, batch: int, logs: Optional[dict[str, Any]] = None
    ) -> None:
        """Saves after every `every_steps` batches."""
        # With several steps per execution, `batch` is the last of them.
        self._now = batch + 1
        if self.every_steps is not None and self.can_save:
            every = self.every_steps
            if self._now // every > self._saved_at // every:
                self.save()

    @property
    def _length(self) -> Optional[int]:
        """Batches per epoch; None if Keras does not know it."""
        return (self.params or {}).get("steps")

    @property
    def can_save(self) -> bool:
        """Whether a run could resume here, in the middle of an epoch."""
        return self._length is not None and self._now < self._length

    def on_epoch_end(
        self, epoch: int, logs: Optional[dict[str, Any]] = None
    ) -> None:
        """Saves at the end of the epoch, after its validation."""
        self._epoch, self._now = epoch + 1, 0
        self.save()

    def on_train_end(self, logs: Optional[dict[str, Any]] = None) -> None:
        """Waits until the last files are written."""
        self.wait()

    def save(self) -> int:
        """Saves the current state; call it between two batches.

        Returns:
          The number of the checkpoint: batches since the start of training.

        Raises:
          OSError: if the previous checkpoint could not be written.
        """
        self.wait()
        step = self._total_batches()
        values = checkpoint_state.read(self.model)
        values |= checkpoint_state.position_values(
            self._epoch, self._now, self._length
        )
        self._local.values = values
        if self._resumed_at is not None:  # Later checkpoints are damaged.
            folder, alone = self._manager.directory, self._worker[1] == 1
            checkpoint_files.remove_after(folder, self._resumed_at, alone)
        self._writing = self._start_writing(step)
        self._resumed_at = None
        self._saved_at = self._now
        return step

    def wait(self) -> None:
        """Waits until the last checkpoint is written.

        Raises:
          OSError: if it could not be written.
        """
        if self._writing is None:
            return
        self._manager.sync()
        path, self._writing = self._writing, None
        if path == self._written:
            return
        try:  # TensorFlow raises the error of a write at the next write.
            self._start_writing(self._total_batches())
        except tf.errors.OpError as error:
            raise OSError(
                f"Checkpoint {path!r} could not be written ({error.message}). "
                "Check space and permissions, then resume from the previous "
                "checkpoint."
            ) from error

    def _start_writing(self, step: int) -> str:
        return self._manager.save(
            checkpoint_number=step,
            options=self._file_options(
                experimental_enable_async_checkpoint=self._worker[1] == 1
                and keras_internals.can_be_copied(self.model),
                experimental_write_callbacks=[self._note_written],
            ),
        )

    def _file_options(self, **options: Any) -> tf.train.CheckpointOptions:
        if self._worker[1] == 1:  # Otherwise each host writes its variables.
            options["experimental_io_device"] = "/job:localhost"
        return tf.train.CheckpointOptions(**options)

    def _note_written(self, path: str) -> None:
        self._written = path

    def _total_batches(self) -> int:
        if self._length is None:
            return self._epoch
        return self._epoch * self._length + self._now

    # --- Files ---------------------------------------------------------------

    def _make_manager(self) -> tf.train.CheckpointManager:
        self._local = checkpoint_state.Arrays()
        # Reading a moving mean to save it communicates among all processes, so
        # each process must save the weights, not only the first.
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
        """Returns the steps with a file of any process, in ascending order."""
        folders = map(self._folder, range(self._worker[1]))
        return sorted(set().union(*map(checkpoint_files.steps_in, folders)))

    def _last_good(self) -> Optional[tuple[int, checkpoint_state.Values]]:
        """Returns (step, values) of the last checkpoint of all processes.

        Each process reads the files of all processes, so that all choose the
        same checkpoint.
        """
        if not self.restore or self._searched:
            return self._found
        index, count = self._worker
        problem = ""
        steps = self._steps()
        files = [[self._path(step, i) for i in range(count)] for step in steps]
        for step, step_files in zip(reversed(steps), reversed(files)):
            path = step_files[index]
            if problem:
                warnings.warn(
                    f"{problem} Trying {path!r} instead.", RuntimeWarning
                )
            try:
                for worker_path in step_files:
                    checkpoint_files.verify(worker_path)
            except ValueError as error:
                problem = str(error)
                continue
            local = checkpoint_state.Arrays()
            checkpoint = tf.train.Checkpoint(local=local)
            checkpoint.restore(path, self._file_options()).expect_partial()
            self._found = step, local.values or {}
            break
        else:
            if problem:
                checkpoint_files.check_nothing_is_lost(files, problem)
        self._searched = True
        return self._found
