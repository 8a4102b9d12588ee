"""Learning rates of large-batch training: durations, warm-up, scaling rules."""

import dataclasses
import math
from typing import Optional

import tensorflow as tf

from conadv_tf.signatures import Config


def duration_in_steps(
    name: str,
    steps: Optional[float] = None,
    epochs: Optional[float] = None,
    examples: Optional[float] = None,
    global_batch_size: Optional[int] = None,
    num_examples: Optional[int] = None,
) -> float:
    """Converts a duration in steps, epochs or examples to steps.

    Args:
      name: what the duration is, for the error.
      steps: number of updates; or
      epochs: passes over the training set, may be fractional; or
      examples: number of images seen.
      global_batch_size: images per step over all replicas; needed for epochs
        and examples.
      num_examples: size of the training set; needed for epochs.

    Returns:
      float number of steps.

    Raises:
      ValueError: unless exactly one duration is given, it is >= 0, and what
        converts it is known.
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
            f"{key}={value} needs global_batch_size > 0 to become steps; "
            f"received {global_batch_size!r}."
        )
    images = value
    if epochs is not None:
        if not num_examples or num_examples < 0:
            raise ValueError(
                f"{key}={value} needs num_examples > 0 (images in the "
                f"training set) to become steps; received {num_examples!r}."
            )
        images = epochs * num_examples
    return images / global_batch_size


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
class WarmupPolynomialDecay(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Linear warm-up to a base rate, then polynomial decay.

    With w warm-up steps of n training steps, update t = 0, 1, ... uses

        base * (t + 1) / w                                    for t < w
        end + (base - end) * (1 - (t + 1 - w) / (n - w)) ** power    after

    so that no update has rate 0, update w - 1 has the base rate and update
    n - 1 the end rate; later ones keep it. The paper's runs use power 1.6,
    the end rate 1e-4 and the base rates of `scaling_rule`.

    Args:
      base_learning_rate: peak rate, > 0.
      train_steps: updates of the whole run (warm-up included); or
      train_epochs: passes over the training set; or
      train_examples: images seen.
      warmup_steps, warmup_epochs, warmup_examples: the same for the warm-up;
        none of them means no warm-up.
      power: of the decay; > 0.
      end_learning_rate: rate at the end; >= 0.
      global_batch_size: images per step, needed for epochs and examples.
      num_examples: size of the training set, needed for epochs.

    Raises:
      ValueError: if durations are missing, doubled or contradictory.
    """

    def __init__(
        self,
        base_learning_rate: float,
        train_steps: Optional[float] = None,
        warmup_steps: Optional[float] = None,
        power: float = 2.0,
        end_learning_rate: float = 1e-4,
        *,
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
        """The learning rate of update `step`, float32 scalar."""
        done = tf.cast(step, tf.float32) + 1.0
        base, end = self.base_learning_rate, self.end_learning_rate
        remaining = max(self.train_steps - self.warmup_steps, 1e-6)
        progress = (done - self.warmup_steps) / remaining
        progress = tf.clip_by_value(progress, 0.0, 1.0)
        decayed = end + (base - end) * (1.0 - progress) ** self.power
        warming = base * done / max(self.warmup_steps, 1.0)
        return tf.where(done <= self.warmup_steps, warming, decayed)

    def get_config(self) -> Config:
        """The schedule in steps, whatever units it was given in."""
        return {
            "base_learning_rate": self.base_learning_rate,
            "train_steps": self.train_steps,
            "warmup_steps": self.warmup_steps,
            "power": self.power,
            "end_learning_rate": self.end_learning_rate,
        }


# Upper end of the batch size (exclusive), base rate, warm-up epochs: the
# authors' released code, for ResNet-50 on ImageNet.
_PAPER_RATES = (
    (16384, 10.0, 5.0),
    (32768, 25.0, 5.0),
    (65536, 31.2, 25.0),
    (math.inf, 43.0, 41.0),
)
RULES = ("paper", "linear", "sqrt")


@dataclasses.dataclass(frozen=True)
class ScaledRate:
    """What `scaling_rule` found: a peak rate and a warm-up in all units."""

    base_learning_rate: float
    warmup_epochs: float
    warmup_steps: float
    warmup_examples: float
    global_batch_size: int
    num_examples: int

    def schedule(
        self,
        train_epochs: float,
        power: float = 1.6,
        end_learning_rate: float = 1e-4,
    ) -> WarmupPolynomialDecay:
        """A `WarmupPolynomialDecay` with this rate over `train_epochs`."""
        return WarmupPolynomialDecay(
            self.base_learning_rate,
            train_epochs=train_epochs,
            warmup_epochs=self.warmup_epochs,
            power=power,
            end_learning_rate=end_learning_rate,
            global_batch_size=self.global_batch_size,
            num_examples=self.num_examples,
        )


def scaling_rule(
    global_batch_size: int,
    num_examples: int = 1281167,
    rule: str = "paper",
    base_learning_rate: Optional[float] = None,
    base_batch_size: Optional[int] = None,
    warmup_epochs: Optional[float] = None,
) -> ScaledRate:
    """The peak learning rate and the warm-up for a batch size.

    Rules:
      "paper": the table of the authors' code for LARS and ResNet-50 on
        ImageNet: rate/warm-up epochs 10/5 below 16384 images, 25/5 below
        32768, 31.2/25 below 65536, 43/41 above.
      "linear": base * global_batch_size / base_batch_size (Goyal et al. 2017,
        arXiv 1706.02677).
      "sqrt": base * sqrt(global_batch_size / base_batch_size).

    Args:
      global_batch_size: images per step over all replicas.
      num_examples: images in the training set; ImageNet's by default.
      rule: one of the above.
      base_learning_rate: rate at `base_batch_size`, for "linear" and "sqrt";
        None: 0.1.
      base_batch_size: likewise; None: 256.
      warmup_epochs: likewise; None: 5.

    Returns:
      A `ScaledRate`; its `.schedule(train_epochs)` is a Keras schedule.

    Raises:
      ValueError: if the rule is unknown, is given what its table has, or a
        size is not positive.
    """
    if not global_batch_size > 0 or not num_examples > 0:
        raise ValueError(
            "Expected global_batch_size > 0 and num_examples > 0; received "
            f"{global_batch_size!r} and {num_examples!r}."
        )
    given = {
        "base_learning_rate": base_learning_rate,
        "base_batch_size": base_batch_size,
        "warmup_epochs": warmup_epochs,
    }
    rate = 0.1 if base_learning_rate is None else base_learning_rate
    base = 256 if base_batch_size is None else base_batch_size
    epochs = 5.0 if warmup_epochs is None else warmup_epochs
    if not base > 0:
        raise ValueError(f"Expected base_batch_size > 0; received {base!r}.")
    if rule == "paper":
        superfluous = {k: v for k, v in given.items() if v is not None}
        if superfluous:
            raise ValueError(
                f'Expected {", ".join(superfluous)} with rule="linear" or '
                f'"sqrt" only; received {superfluous} with "paper", whose '
                "table has its own."
            )
        rate, epochs = next(
            row[1:] for row in _PAPER_RATES if global_batch_size < row[0]
        )
    elif rule == "linear":
        rate *= global_batch_size / base
    elif rule == "sqrt":
        rate *= math.sqrt(global_batch_size / base)
    else:
        raise ValueError(
            f"Expected rule to be one of {RULES}; received {rule!r}."
        )
    examples = epochs * num_examples
    return ScaledRate(
        base_learning_rate=rate,
        warmup_epochs=epochs,
        warmup_steps=examples / global_batch_size,
        warmup_examples=examples,
        global_batch_size=global_batch_size,
        num_examples=num_examples,
    )
