"""A callback that stops training when something is wrong with it."""

from collections.abc import Sequence
import math
import statistics
from typing import Any
from typing import Optional
from typing import Union
import warnings

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.types import Logs


class TrainingMonitor(keras_internals.Callback):
    """Stops or warns when data or gradients of a `ConAdvModel` go wrong.

    `ConAdvModel.fit` adds one by itself; pass your own to change its limits.

    - Images with a NaN, or outside the attack's `value_range`, raise a
      ValueError; those that use under 1% of it warn, and raise at the end of
      an epoch.
    - A step whose gradient is not finite is skipped: it changes no weight, slot
      or moving statistic. More than `max_skipped_steps` of them raise a
      FloatingPointError with the step and the likely cause.
    - An epoch whose loss is `divergence_factor` times that of the first one
      warns that training diverges.

    The step counts on the device, because an assertion there would vanish
    under XLA; the counts are read after the first batch, then every
    `check_every` batches and at the end of each epoch, because reading waits
    for the device.

    Adds `skipped_steps` to the logs of an epoch; `loss_scale` where the
    optimizer is a `LossScaleOptimizer`; and, of the last update, the smallest,
    median and largest trust ratio where it is a `ca.LARS` that records them.

    Args:
      max_skipped_steps: skipped steps of one `fit` that are tolerated. The
        steps that a `LossScaleOptimizer` skips to find its scale count too.
      divergence_factor: see above.
      check_every: batches between two readings of the counts.

    Raises:
      ValueError: if an argument is negative.

    Example:
      >>> layers = [tf.keras.Input((2,)), tf.keras.layers.Dense(3)]
      >>> model = ca.ConAdvModel(tf.keras.Sequential(layers), attack=None)
      >>> model.compile("sgd", tf.keras.losses.MeanSquaredError())
      >>> health = ca.TrainingMonitor(max_skipped_steps=0)
      >>> images = np.full([4, 2], np.nan)
      >>> model.fit(images, np.ones([4, 3]), verbose=0, callbacks=[health])
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
        """Starts to count."""
        self._skipped_before = self.model.skipped_steps
        self._steps_before = self._steps()
        self._next_check = 0
        self._first_loss: Optional[float] = None

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Reads the counts now and then."""
        if batch >= self._next_check:
            # `batch` is the last of a call that makes several steps.
            self._next_check = batch + self.check_every
            self._check()

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Counts batches anew, as Keras does."""
        if epoch:
            self._next_check = self.check_every

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
        if skipped > self.max_skipped_steps:
            raise FloatingPointError(self._explanation(skipped))

    def _check_loss(self, epoch: int, loss: Optional[float]) -> None:
        if loss is None:
            return
        loss = float(loss)
        if not self._first_loss:
            # Zero: nothing was trained on yet (phased placement's start).
            self._first_loss = loss if math.isfinite(loss) else None
        elif loss > self.divergence_factor * self._first_loss:
            warnings.warn(
                f"Training diverges: the loss of epoch {epoch + 1} is "
                f"{loss:.4g}, that of the first was {self._first_loss:.4g}; "
                f"learning rate {self._rate()}. Lower the rate or "
                "lengthen the warm-up.",
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
                "It was so from the first step on: look for NaN in labels or "
                "sample weights, and for operations in the network that are "
                "not defined for all inputs (log, sqrt, division)."
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


def with_training_monitor(
    callbacks: Any, model: tf.keras.Model
) -> Union[
    tf.keras.callbacks.CallbackList, Sequence[tf.keras.callbacks.Callback]
]:
    """The callbacks, as `fit` takes them, with a `TrainingMonitor`."""
    if isinstance(callbacks, tf.keras.callbacks.CallbackList):
        if not _any_health(callbacks.callbacks):
            health = TrainingMonitor()
            health.set_model(model)  # A CallbackList leaves this to us.
            callbacks.append(health)
        return callbacks
    callbacks = callbacks or []
    if not isinstance(callbacks, (list, tuple)):
        callbacks = [callbacks]
    if _any_health(callbacks):
        return callbacks
    return [TrainingMonitor(), *callbacks]


def _any_health(callbacks: Sequence[tf.keras.callbacks.Callback]) -> bool:
    return any(isinstance(each, TrainingMonitor) for each in callbacks)
