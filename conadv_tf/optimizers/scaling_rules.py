"""Rules that scale the learning rate with the batch size."""

import dataclasses
import math
from typing import Optional

from conadv_tf.optimizers.learning_rates import WarmupPolynomialDecay

# (exclusive upper end of the batch size, base rate, warm-up epochs) of the
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
    """Result of `scaling_rule`: a peak rate and a warm-up in all units.

    Attributes:
      base_learning_rate: the peak rate.
      warmup_epochs: passes over the training set in the warm-up.
      warmup_steps: updates of the warm-up.
      warmup_examples: images seen in the warm-up.
      global_batch_size: images per step over all replicas.
      num_examples: images in the training set.
    """

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
        """Returns a `WarmupPolynomialDecay` with this rate and warm-up.

        Args:
          train_epochs: passes over the training set, warm-up included.
          power: exponent of the decay; > 0.
          end_learning_rate: rate at the end; >= 0.
        """
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
    *,
    rule: str = "paper",
    base_learning_rate: Optional[float] = None,
    base_batch_size: Optional[int] = None,
    warmup_epochs: Optional[float] = None,
) -> ScaledRate:
    """Computes the peak learning rate and the warm-up for a batch size.

    Rules:
      "paper": the table of the authors' code for LARS and ResNet-50 on
        ImageNet: rate/warm-up epochs 10/5 below 16384 images, 25/5 below
        32768, 31.2/25 below 65536, 43/41 from there on.
      "linear": base * global_batch_size / base_batch_size (Goyal et al. 2017,
        arXiv 1706.02677).
      "sqrt": base * sqrt(global_batch_size / base_batch_size).

    Args:
      global_batch_size: images per step over all replicas.
      num_examples: images in the training set; ImageNet's by default.
      rule: "paper", "linear" or "sqrt".
      base_learning_rate: rate at `base_batch_size`; only for "linear" and
        "sqrt". None is 0.1.
      base_batch_size: batch size of the base rate, in images; only for
        "linear" and "sqrt". None is 256.
      warmup_epochs: passes over the training set in the warm-up; only for
        "linear" and "sqrt". None is 5.

    Returns:
      A `ScaledRate`. Its method `schedule(train_epochs)` returns a Keras
      schedule.

    Raises:
      ValueError: if the rule is unknown, if a size is not positive, or if an
        argument of the other rules is given with "paper".

    Example:
      >>> rate = ca.scaling_rule(32768)
      >>> rate.base_learning_rate, rate.warmup_epochs
      (31.2, 25.0)
      >>> ca.scaling_rule(1024, rule="sqrt").base_learning_rate
      0.2
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
                "table defines them. Leave them out, or use another rule."
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
