"""Learning rate schedules with warm-up, in steps, epochs or examples."""

import math
from typing import Optional

import tensorflow as tf

from conadv_tf.types import Config


def duration_in_steps(
    name: str,
    steps: Optional[float] = None,
    epochs: Optional[float] = None,
    examples: Optional[float] = None,
    global_batch_size: Optional[int] = None,
    num_examples: Optional[int] = None,
) -> float:
    """Converts a duration in steps, epochs or examples to steps.

    Exactly one of `steps`, `epochs` and `examples` must be given.

    Args:
      name: name of the duration in errors, such as "warmup".
      steps: number of updates.
      epochs: number of passes over the training set, may be fractional.
      examples: number of training images seen.
      global_batch_size: images per step over all replicas; needed for epochs
        and examples.
      num_examples: size of the training set; needed for epochs.

    Returns:
      The number of steps, a float.

    Raises:
      ValueError: if not exactly one duration is given, if it is negative, or
        if a size that the conversion needs is missing.
    """
    given = {
        f"{name}_{unit}": value
        for unit, value in (
            ("steps", steps),
            ("epochs", epochs),
            ("examples", examples),
        )
        if value is not None
    }
    if len(given) != 1:
        raise ValueError(
            f"Expected exactly one of {name}_steps, {name}_epochs and "
            f"{name}_examples; received {given or 'none'}."
        )
    key, value = next(iter(given.items()))
    if not 0 <= value < math.inf:
        raise ValueError(f"Expected {key} >= 0; received {value!r}.")
    if steps is not None:
        return float(steps)
    if not global_batch_size or global_batch_size < 0:
        raise ValueError(
            "Expected global_batch_size > 0 (images per step) to convert "
            f"{key}={value} to steps; received {global_batch_size!r}."
        )
    images = value
    if epochs is not None:
        if not num_examples or num_examples < 0:
            raise ValueError(
                "Expected num_examples > 0 (images in the training set) to "
                f"convert {key}={value} to steps; received {num_examples!r}."
            )
        images = epochs * num_examples
    return images / global_batch_size


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
class WarmupPolynomialDecay(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to a base rate, then polynomial decay.

    With w warm-up steps of n training steps, update t = 0, 1, ... uses

        base * (t + 1) / w                                    for t < w
        end + (base - end) * (1 - (t + 1 - w) / (n - w)) ** power    after

    So no update has rate 0, update w - 1 has the base rate, and update n - 1
    and all later ones have the end rate. The paper's runs use power 1.6, the
    end rate 1e-4 and the base rates of `scaling_rule`.

    The duration of the training is one of `train_steps`, `train_epochs` and
    `train_examples`, and includes the warm-up.

    Args:
      base_learning_rate: peak rate, > 0.
      train_steps: number of updates of the training.
      warmup_steps: number of updates of the warm-up. Without any duration
        of the warm-up there is none.
      power: exponent of the decay; > 0.
      end_learning_rate: rate at the end; >= 0.
      train_epochs: passes over the training set in the training.
      train_examples: images seen in the training.
      warmup_epochs: passes over the training set in the warm-up.
      warmup_examples: images seen in the warm-up.
      global_batch_size: images per step over all replicas, needed for epochs
        and examples.
      num_examples: size of the training set, needed for epochs.

    Raises:
      ValueError: if a duration is missing or given twice, if the warm-up is
        longer than the training, or if a rate or power is out of its range.

    Example: two updates of warm-up, then four of decay.
      >>> schedule = ca.WarmupPolynomialDecay(
      ...     1.0, train_steps=6, warmup_steps=2, end_learning_rate=0.0
      ... )
      >>> [round(float(schedule(step)), 3) for step in range(6)]
      [0.5, 1.0, 0.562, 0.25, 0.062, 0.0]
    """

    def __init__(
        self,
        base_learning_rate: float,
        train_steps: Optional[float] = None,
        warmup_steps: Optional[float] = None,
        *,
        power: float = 2.0,
        end_learning_rate: float = 1e-4,
        train_epochs: Optional[float] = None,
        train_examples: Optional[float] = None,
        warmup_epochs: Optional[float] = None,
        warmup_examples: Optional[float] = None,
        global_batch_size: Optional[int] = None,
        num_examples: Optional[int] = None,
    ) -> None:
        if (warmup_steps, warmup_epochs, warmup_examples) == (None,) * 3:
            warmup_steps = 0
        known = {
            "global_batch_size": global_batch_size,
            "num_examples": num_examples,
        }
        train = duration_in_steps(
            "train", train_steps, train_epochs, train_examples, **known
        )
        warmup = duration_in_steps(
            "warmup", warmup_steps, warmup_epochs, warmup_examples, **known
        )
        if not train > 0 or warmup > train:
            raise ValueError(
                "Expected 0 <= warmup <= train steps and train > 0; received "
                f"{warmup:g} warm-up steps of {train:g} training steps."
            )
        if not base_learning_rate > 0 or not power > 0:
            raise ValueError(
                "Expected base_learning_rate > 0 and power > 0; received "
                f"{base_learning_rate!r} and {power!r}."
            )
        if not end_learning_rate >= 0:
            raise ValueError(
                "Expected end_learning_rate >= 0; received "
                f"{end_learning_rate!r}."
            )
        self.base_learning_rate = float(base_learning_rate)
        self.train_steps = train
        self.warmup_steps = warmup
        self.power = float(power)
        self.end_learning_rate = float(end_learning_rate)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the learning rate of update `step`, float32 scalar."""
        done = tf.cast(step, tf.float32) + 1.0
        base, end = self.base_learning_rate, self.end_learning_rate
        remaining = max(self.train_steps - self.warmup_steps, 1e-6)
        progress = (done - self.warmup_steps) / remaining
        progress = tf.clip_by_value(progress, 0.0, 1.0)
        decayed = end + (base - end) * (1.0 - progress) ** self.power
        warming = base * done / max(self.warmup_steps, 1.0)
        return tf.where(done <= self.warmup_steps, warming, decayed)

    def get_config(self) -> Config:
        """Returns the constructor arguments, with durations in steps."""
        return {
            "base_learning_rate": self.base_learning_rate,
            "train_steps": self.train_steps,
            "warmup_steps": self.warmup_steps,
            "power": self.power,
            "end_learning_rate": self.end_learning_rate,
        }
