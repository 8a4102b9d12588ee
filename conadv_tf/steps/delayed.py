"""Plain training until adversarial examples pay, then another step.

Adversarial examples regularize a network that fits its training images. Before
that they take a part of each update and cost accuracy and time. So the first
phase is plain training through the main batch norm, to the bit, without shadow
weights or a pending batch. The second phase is the other step. When it begins,
the auxiliary batch norms take scale, offset and statistics of the main ones,
and the optimizer's variables for them are still empty.

The host decides at the end of an epoch, from counts over all replicas and
processes, so that a step waits for nothing and all processes decide alike.
"""

import dataclasses
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf.steps.delayed_runner import DelayedRunner
from conadv_tf.steps.step import check_integer
from conadv_tf.steps.step import deserialize
from conadv_tf.steps.step import Step


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
@dataclasses.dataclass(frozen=True)
class Delayed(Step):
    """Plain training until the network fits, then another step.

    The attack starts after the first epoch that ends with all given conditions
    met. Until then the model trains like `ConAdvModel(network,
    None)`, and costs as much. If the conditions never hold, it stays plain
    training. The logs of `fit` have `attacked`, 0.0 or 1.0, for each epoch. The
    metrics of adversarial images begin with the first attacked epoch. If batch
    norms have regularizers, the logged loss counts both branches from the
    first epoch on; the gradients do not.

    The step needs `fit`, which has epochs, and one view. Checkpoints have the
    phase; files of `model.save` do not, and their training starts plainly.

    Attributes:
      step: the step that attacks, for example `ca.SharedPass()`.
      accuracy: share of the clean training images of an epoch that are
        classified correctly, in (0, 1], over all replicas and processes. For
        labels with several ones it is the compiled accuracy. Each batch counts
        before its update.
      epoch: number of epochs of `fit` since `compile`, >= 1.
      update: number of updates of the optimizer, >= 1.

    Raises:
      ValueError: if there is no condition, or an option has an invalid value.

    Example:
      >>> ca.Delayed(ca.SharedPass(fraction=0.125), accuracy=0.95).cost(
      ...     ca.FGSM(0.1))
      1.125
    """

    step: Step
    accuracy: Optional[float] = dataclasses.field(default=None, kw_only=True)
    epoch: Optional[int] = dataclasses.field(default=None, kw_only=True)
    update: Optional[int] = dataclasses.field(default=None, kw_only=True)
    runner = DelayedRunner

    def __post_init__(self) -> None:
        """Checks the options."""
        super().__post_init__()
        if (
            not isinstance(self.step, Step)
            or not self.step.requires_attack
            or self.step.attacking_step is not self.step
        ):
            raise ValueError(
                "Expected a step that attacks, for example "
                f"ca.Delayed(ca.SharedPass(), accuracy=0.95); received "
                f"{self.step!r}."
            )
        if self.accuracy is self.epoch is self.update is None:
            raise ValueError(
                "Expected a condition, for example "
                f"ca.Delayed({self.step!r}, accuracy=0.95); received none. "
                "Without a delay pass the step itself."
            )
        accuracy = self.accuracy
        if accuracy is not None and not (
            isinstance(accuracy, (int, float))
            and not isinstance(accuracy, bool)
            and 0 < accuracy <= 1
        ):
            raise ValueError(
                f"Expected accuracy in (0, 1]; received {accuracy!r}."
            )
        for name in ("epoch", "update"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name), 1)
        for name in ("staleness", "fraction", "weight", "microbatches"):
            object.__setattr__(self, name, getattr(self.step, name))

    @property
    def attacking_step(self) -> Step:
        """The step that attacks."""
        return self.step

    def cost(self, attack: Any, views: int = 1) -> float:
        """Returns the arithmetic of a step after the start."""
        return self.step.cost(attack, views)

    def check(self, network: tf.keras.Model, attack: Any, views: int) -> None:
        """Refuses two views, and what the other step refuses."""
        super().check(network, attack, views)
        if views != 1:
            raise ValueError(
                "Expected views=1 with step=ca.Delayed(...), whose plain steps "
                f"train on one view; received views={views!r}. Augment the "
                "images in the data pipeline, or pass the step itself."
            )
        self.step.check(network, attack, views)

    def check_compiled(self, loss: Any, steps_per_execution: int) -> None:
        """Refuses what the other step refuses."""
        self.step.check_compiled(loss, steps_per_execution)

    def check_single_batch(self) -> None:
        """Refuses `train_on_batch`, which ends no epoch."""
        raise ValueError(
            "Expected fit with step=ca.Delayed(...), which decides at the end "
            "of an epoch whether the attack starts; received a call of "
            "train_on_batch. Use another step."
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the options, JSON-serializable."""
        step = tf.keras.utils.serialize_keras_object(self.step)
        return {**super().get_config(), "step": step}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Delayed":
        """Returns the step that `get_config` described."""
        return cls(**{**config, "step": deserialize(config["step"])})
