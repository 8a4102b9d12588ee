"""A Keras callback that measures the throughput of training."""

import json
import math
import os
import time
from typing import Any
from typing import Optional
from typing import Union

import numpy as np
import tensorflow as tf

from conadv_tf import csv_file
from conadv_tf import keras_internals
from conadv_tf import paths
from conadv_tf.types import Logs


class ThroughputLogger(keras_internals.Callback):
    """Measures images per second and step times, without compilation.

    Works with any Keras model. It measures wall-clock time from the end of the
    first call of the training function (which traces and compiles), or in later
    epochs from the start of the epoch, to the end of the last batch of the
    epoch. This includes waiting for input, but not validation, checkpoints and
    the end of `fit`. It adds `images_per_second` (over the epoch so far, for
    all replicas together) to the logs of each batch and epoch, which the
    progress bar, `History` and other callbacks show; and the mean
    `step_time_ms` of the epoch to its logs.

    Args:
      global_batch_size: images per step over all replicas.
      examples_per_epoch: images per epoch, if the last batch is smaller; None
        if all batches have the same size.
      synchronize: whether to wait for the device after each call, which makes
        step times exact. False does not slow down accelerators that run ahead,
        but only the total time of an epoch is then exact.
      csv_path: file to write one row per epoch to; replaced if it exists.
      log_dir: TensorBoard directory for the same numbers.
      mllog_path: file to append MLPerf `:::MLLOG` lines to.

    Attributes:
      history: list of one dict per epoch, as in the CSV file and TensorBoard.
        It also has the rate per replica and the 50th, 90th and 99th percentile
        of the step time. The rate is NaN in an epoch whose only call compiled.
      images_per_second: rate over all measured epochs; NaN if there is none.
      step_time_ms: median step time over all measured steps.

    Raises:
      ValueError: if a size is not positive.

    Example: the first of four steps compiles and does not count.
      >>> model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
      >>> model.compile("sgd", "mse")
      >>> logger = ca.ThroughputLogger(global_batch_size=8)
      >>> history = model.fit(
      ...     tf.zeros([32, 2]),
      ...     tf.zeros([32]),
      ...     batch_size=8,
      ...     verbose=0,
      ...     callbacks=[logger],
      ... )
      >>> sorted(history.history)
      ['images_per_second', 'loss', 'step_time_ms']
      >>> logger.history[0]["images"]
      24
    """

    def __init__(
        self,
        global_batch_size: int,
        examples_per_epoch: Optional[int] = None,
        synchronize: bool = True,
        csv_path: Optional[Union[str, os.PathLike]] = None,
        log_dir: Optional[Union[str, os.PathLike]] = None,
        mllog_path: Optional[Union[str, os.PathLike]] = None,
    ) -> None:
        super().__init__()
        for name, value in (
            ("global_batch_size", global_batch_size),
            ("examples_per_epoch", examples_per_epoch),
        ):
            if value is not None and not value > 0:
                raise ValueError(f"Expected {name} > 0; received {value!r}.")
        self.global_batch_size = global_batch_size
        self.examples_per_epoch = examples_per_epoch
        self.synchronize = synchronize
        self.history: list[dict[str, Any]] = []
        self._csv_path = csv_path
        self._log_dir = log_dir
        self._mllog_path = mllog_path
        self._clock = time.perf_counter

    @property
    def images_per_second(self) -> float:
        """Rate over all measured epochs; NaN if there is none."""
        seconds = sum(row["seconds"] for row in self.history)
        images = sum(row["images"] for row in self.history)
        return images / seconds if seconds else math.nan

    @property
    def step_time_ms(self) -> float:
        """Median step time over all measured steps, in milliseconds."""
        times = self._all_times or [math.nan]
        return float(np.median(times) * 1e3)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Starts a new measurement; the next call compiles."""
        self._compiled = False
        self._attacks = self._attack_has_started()
        self._all_times: list[float] = []
        self._writer = (
            tf.summary.create_file_writer(self._log_dir)
            if self._log_dir
            else None
        )
        self.history = []
        self._mllog("run_start", "INTERVAL_START")

    def on_train_end(self, logs: Logs = None) -> None:
        """Ends the measurement."""
        self._mllog("run_stop", "INTERVAL_END", status="success")
        if self._writer is not None:
            self._writer.close()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Starts the epoch's clock."""
        if self._attacks != self._attack_has_started():
            # The next call compiles the other step of `ca.Delayed`.
            self._compiled, self._attacks = False, not self._attacks
        self._steps = 0
        self._images = 0
        self._seconds = 0.0
        self._times: list[float] = []
        self._last = self._clock()
        self._mllog("block_start", "INTERVAL_START", first_epoch_num=epoch)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Counts the steps of one call of the training function."""
        logs = logs if logs is not None else {}
        # With several steps per execution, `batch` is the last of them.
        steps_before, self._steps = self._steps, batch + 1
        before, after = map(self._images_of_steps, (steps_before, self._steps))
        if self.synchronize or self._is_last(batch):
            _wait_for(logs)
        now = self._clock()
        elapsed, self._last = now - self._last, now
        if not self._compiled:
            self._compiled = True
            return
        self._images += after - before
        self._seconds += elapsed
        new_steps = self._steps - steps_before
        self._times.extend([elapsed / new_steps] * new_steps)
        if self._seconds:  # A coarse clock may not have advanced yet.
            logs["images_per_second"] = self._images / self._seconds

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Adds the results of the epoch to the logs and the files."""
        row = self._row(epoch)
        if self._images:
            self.history.append(row)
            self._all_times.extend(self._times)
        if logs is not None:  # All other values are in `history` and the files.
            for name in ("images_per_second", "step_time_ms"):
                logs[name] = row[name]
        if self._csv_path and self.history:
            csv_file.write(self._csv_path, self.history)
        if self._writer is not None:
            with self._writer.as_default(step=epoch):
                for name in set(row) - {"epoch", "images", "seconds"}:
                    tf.summary.scalar(f"throughput/{name}", row[name])
            self._writer.flush()
        rate = row["images_per_second"]
        self._mllog("throughput", "POINT_IN_TIME", rate, epoch_num=epoch)
        self._mllog("block_stop", "INTERVAL_END", first_epoch_num=epoch)

    def _attack_has_started(self) -> bool:
        runner = getattr(self.model, "runner", None)
        return getattr(runner, "has_started", False)

    def _images_of_steps(self, steps: int) -> int:
        images = steps * self.global_batch_size
        if self.examples_per_epoch is None:
            return images
        return min(images, self.examples_per_epoch)

    def _is_last(self, batch: int) -> bool:
        steps = (self.params or {}).get("steps")
        return steps is None or batch + 1 >= steps

    def _row(self, epoch: int) -> dict[str, Any]:
        times = np.asarray(self._times or [math.nan]) * 1e3
        rate = self._images / self._seconds if self._seconds else math.nan
        replicas = self.model.distribute_strategy.num_replicas_in_sync
        percentiles = np.percentile(times, (50, 90, 99))
        return {
            "epoch": epoch,
            "images": self._images,
            "seconds": self._seconds,
            "images_per_second": rate,
            "images_per_second_per_replica": rate / replicas,
            "step_time_ms": float(times.mean()),
            "step_time_ms_p50": float(percentiles[0]),
            "step_time_ms_p90": float(percentiles[1]),
            "step_time_ms_p99": float(percentiles[2]),
        }

    def _mllog(
        self,
        key: str,
        event_type: str,
        value: Optional[float] = None,
        **metadata: Any,
    ) -> None:
        if not self._mllog_path:
            return
        line = {
            "namespace": "",
            "time_ms": int(time.time() * 1e3),
            "event_type": event_type,
            "key": key,
            "value": value,
            "metadata": metadata,
        }
        path = paths.as_path(self._mllog_path)
        with path.open("a", encoding="utf-8") as file:
            file.write(f":::MLLOG {json.dumps(line)}\n")


def _wait_for(logs: dict[str, Any]) -> None:
    """Blocks until the device has computed the step of these logs."""
    for value in logs.values():
        if isinstance(value, tf.Tensor):
            value.numpy()
            return
