"""A callback that stops training when data or gradients are invalid."""

import math
import statistics
from typing import Optional
import warnings

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.types import Logs


class TrainingMonitor(keras_internals.Callback):
    """Stops or warns when data or gradients of a `ConAdvModel` are invalid.

    `ConAdvModel.fit` adds one automatically. Pass another one to change its
    limits.

    - Images with a NaN, or outside the attack's `value_range`, raise a
      ValueError. Images that use less than 1% of the range cause a warning, and
      an error at the end of an epoch.
    - A step whose gradient is not finite is skipped: it changes no weight, slot
      or moving statistic. More than `max_skipped_steps` skipped steps raise a
      FloatingPointError with the step and the likely cause.
    - If the loss of an epoch is more than `divergence_factor` times the loss of
      the first one, it warns that training diverges.

    The training step counts these events on the device, because XLA removes
    assertions. Reading the counts waits for the device, so they are read only
    after the first batch, then every `check_every` batches and at the end of
    each epoch.

    It adds to the logs of an epoch `skipped_steps`; `loss_scale` if the
    optimizer is a `LossScaleOptimizer`; and the smallest, median and largest
    trust ratio of the last update if the optimizer is a `ca.LARS` that records
    them.

    Args:
      max_skipped_steps: number of skipped steps allowed in one `fit`. Steps
        that a `LossScaleOptimizer` skips to find its scale count too. A dynamic
        scale may skip one more after each `dynamic_growth_steps`, because it
        grows until a gradient overflows.
      divergence_factor: ratio of an epoch's loss to the loss of the first
        epoch above which it warns; >= 1.
      check_every: batches between two readings of the counts.

    Raises:
      ValueError: if an argument is negative.

    Example:
      >>> layers = [tf.keras.Input((2,)), tf.keras.layers.Dense(3)]
      >>> model = ca.ConAdvModel(tf.keras.Sequential(layers), attack=None)
      >>> model.compile("sgd", tf.keras.losses.MeanSquaredError())
      >>> monitor = ca.TrainingMonitor(max_skipped_steps=0)
      >>> images = np.full([4, 2], np.nan)
      >>> model.fit(images, np.ones([4, 3]), verbose=0, callbacks=[monitor])
      Traceback (most recent call last):
      FloatingPointError: 1 steps had a gradient that is not finite and were
      skipped, the first at step 0; more than max_skipped_steps=0. ...
    """

    def __init__(
        self,
        max_skipped_steps: int = 10,
        divergence_factor: float = 10.0,
        check_every: int = 100,
    ) -> None:
        super().__init__()
        for name, value, low in (
            ("max_skipped_steps", max_skipped_steps, 0),
            ("divergence_factor", divergence_factor, 1),
            ("check_every", check_every, 1),
        ):
            if not value >= low:
                raise ValueError(
                    f"Expected {name} >= {low}; received {value!r}."
                )
        self.max_skipped_steps = max_skipped_steps
        self.divergence_factor = divergence_factor
        self.check_every = check_every

    def on_train_begin(self, logs: Logs = None) -> None:
        """Starts a new count of skipped steps."""
        self._skipped_before = self.model.skipped_steps
        self._steps_before = self._steps()
        self._next_check = 0
        self._is_first_epoch = True
        self._first_loss: Optional[float] = None

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Reads the counts every `check_every` batches."""
        if batch >= self._next_check:
            # With several steps per execution, `batch` is the last of them.
            self._next_check = batch + self.check_every
            self._check()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Restarts the count of batches, as Keras does."""
        if not self._is_first_epoch:
            self._next_check = self.check_every
        self._is_first_epoch = False

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Checks the whole epoch."""
        self._check(whole_epoch=True)
        logs = logs if logs is not None else {}
        logs["skipped_steps"] = self._skipped()
        optimizer = self.model.optimizer
        scale = getattr(optimizer, "loss_scale", None)
        if scale is not None:
            logs["loss_scale"] = float(scale)
            optimizer = optimizer.inner_optimizer
        ratios = getattr(optimizer, "trust_ratios", None)
        if ratios:
            logs["trust_ratio_min"] = min(ratios)
            logs["trust_ratio_median"] = statistics.median(ratios)
            logs["trust_ratio_max"] = max(ratios)
        self._check_loss(epoch, logs.get("loss"))

    def _steps(self) -> int:
        return self.model.optimizer.iterations.numpy().item()

    def _skipped(self) -> int:
        return self.model.skipped_steps - self._skipped_before

    def _check(self, whole_epoch: bool = False) -> None:
        self.model.check_value_range(whole_epoch)
        skipped = self._skipped()
        if skipped > self.max_skipped_steps + self._overflows_of_growth():
            raise FloatingPointError(self._explanation(skipped))

    def _overflows_of_growth(self) -> int:
        """Returns the largest number of skips by a scale that only grows."""
        optimizer = self.model.optimizer
        if not getattr(optimizer, "dynamic", False):
            return 0
        steps = self._steps() - self._steps_before
        return steps // optimizer.dynamic_growth_steps

    def _check_loss(self, epoch: int, loss: Optional[float]) -> None:
        if loss is None:
            return
        loss = float(loss)
        if not self._first_loss:
            # It is 0 if there was no update yet (`RotatingRoles` starts late).
            self._first_loss = loss if math.isfinite(loss) else None
        elif loss > self.divergence_factor * self._first_loss:
            warnings.warn(
                f"Training diverges: the loss of epoch {epoch + 1} is "
                f"{loss:.4g}, the loss of the first epoch was "
                f"{self._first_loss:.4g}; learning rate {self._rate()}. Lower "
                "the rate or lengthen the warm-up.",
                RuntimeWarning,
            )

    def _rate(self) -> str:
        rate = getattr(self.model.optimizer, "learning_rate", None)
        if callable(rate):  # A legacy optimizer keeps the schedule here.
            rate = rate(self.model.optimizer.iterations)
        return "unknown" if rate is None else f"{float(rate):.4g}"

    def _explanation(self, skipped: int) -> str:
        message = (
            f"{skipped} steps had a gradient that is not finite and were "
            f"skipped, the first at step {self.model.first_skipped_step}; "
            f"more than max_skipped_steps={self.max_skipped_steps}. "
        )
        if skipped == self._steps() - self._steps_before:
            return message + (
                "This affects all steps from the first one: look for NaN in "
                "labels or sample weights, and for operations in the network "
                "that are undefined for some inputs (log, sqrt, division)."
            )
        largest = max(
            float(tf.reduce_max(tf.abs(tf.convert_to_tensor(weight))))
            for weight in self.model.trainable_variables
        )
        return message + (
            "Likely cause: the learning rate is too high for this batch size "
            f"(now {self._rate()}; largest weight {largest:.4g}). "
            "Lower it, lengthen the warm-up, or clip gradients "
            "(global_clipnorm)."
        )
