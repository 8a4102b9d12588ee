"""An attack whose radius follows a schedule of the training step."""

from collections.abc import Callable
import copy
from typing import cast
from typing import Optional

import tensorflow as tf

from conadv_tf import keras_3
from conadv_tf.attacks import serialization
from conadv_tf.attacks.pgd import PGD
from conadv_tf.types import Config
from conadv_tf.types import Forward
from conadv_tf.types import Loss
from conadv_tf.types import TensorLike
from conadv_tf.types import ValueRange


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
class ScheduledAttack:
    """Scales the radius of another attack by a schedule of the training step.

    At training step t, epsilon and the step size of `attack` are multiplied by
    schedule(t), clipped to [0, 1]. This deviates from the paper, which attacks
    at full strength from the first step. It helps if the early weights change
    too fast for a stale attack. An attack that starts late costs less with
    `ca.Delayed`, whose first steps are plain training.

    While the schedule is 0 the images are returned unchanged, without a random
    start, and the adversarial half of the step trains the auxiliary batch norm
    on clean images. The attack is computed nevertheless. To use `model.save`,
    pass a schedule of Keras, or a registered function or class.

    Args:
      attack: `PGD` or `FGSM`.
      schedule: Keras `LearningRateSchedule`, or another callable from a step
        (int64 scalar tensor) to a float; traced into the training step.
        ConAdvModel counts steps from 0, and the micro-batches of an update
        count as one step.

    Attributes:
      attack: the attack at full strength.
      schedule: the schedule of the radius.

    Raises:
      ValueError: if the attack has no epsilon, or the schedule cannot be
        called.

    Example: the radius grows over 100 steps.
      >>> schedule = tf.keras.optimizers.schedules.PolynomialDecay(0., 100, 1.)
      >>> attack = ca.ScheduledAttack(ca.FGSM(0.1), schedule)
      >>> network = lambda images: images
      >>> for step in (0, 50, 100):
      ...     image = attack(network, [[0.5]], labels=[0], seed=[0, step])
      ...     print(round(float(image[0, 0]), 3))
      0.5
      0.55
      0.6
    """

    def __init__(
        self, attack: PGD, schedule: Callable[[tf.Tensor], TensorLike]
    ) -> None:
        if not hasattr(attack, "epsilon") or not hasattr(attack, "step_size"):
            raise ValueError(
                "Expected an attack with epsilon and step_size, such as "
                f"ca.PGD(8 / 255); received {attack!r}."
            )
        if not callable(schedule):
            raise ValueError(
                "Expected a schedule that can be called with a step, such as "
                "one of tf.keras.optimizers.schedules; received "
                f"{schedule!r}."
            )
        self.attack = attack
        self.schedule = keras_3.adapted(schedule)

    @property
    def epsilon(self) -> float:
        """The radius of `attack`, at full strength."""
        return self.attack.epsilon

    @property
    def num_steps(self) -> int:
        """The number of gradient steps."""
        return self.attack.num_steps

    @property
    def targeted(self) -> Optional[str]:
        """None, or "random" if the attack descends towards a wrong label."""
        return self.attack.targeted

    @property
    def norm(self) -> str:
        """The norm of the radius, "linf" or "l2"."""
        return self.attack.norm

    @property
    def value_range(self) -> ValueRange:
        """The valid pixel values, (low, high)."""
        return self.attack.value_range

    def __call__(
        self,
        network: Forward,
        images: TensorLike,
        labels: TensorLike,
        seed: TensorLike,
        loss: Optional[Loss] = None,
        targets: Optional[TensorLike] = None,
    ) -> tf.Tensor:
        """Generates adversarial examples with the radius of the seed's step.

        Args:
          network: Keras model or callable, images to logits [batch, classes].
          images: [batch, ...] floats inside `value_range`.
          labels: class ids [batch] or [batch, 1], or one-hot rows
            [batch, classes].
          seed: int tensor [2] of (run seed, step). An int has no step and
            gives the attack at full strength.
          loss: callable (labels, logits) -> scalar, the sum over the
            examples; None is the cross-entropy of logits.
          targets: labels to descend towards, in the format of `labels`.

        Returns:
          float32, same shape as images: within epsilon * schedule(step) of
          them and inside `value_range`.
        """
        seed = tf.convert_to_tensor(seed)
        return self._at(seed)(network, images, labels, seed, loss, targets)

    def initial_points(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Calls `PGD.initial_points` with the radius of the seed's step."""
        return self._at(seed).initial_points(images, seed)

    def apply_gradient(
        self,
        points: tf.Tensor,
        gradient: tf.Tensor,
        images: tf.Tensor,
        seed: tf.Tensor,
    ) -> tf.Tensor:
        """Calls `PGD.apply_gradient` with the radius of the seed's step."""
        return self._at(seed).apply_gradient(points, gradient, images, seed)

    def _at(self, seed: tf.Tensor) -> PGD:
        """Returns the attack with the radius of the seed's step."""
        if not seed.shape.rank:
            return self.attack
        scale = tf.cast(self.schedule(seed[1]), tf.float32)
        scale = tf.clip_by_value(scale, 0.0, 1.0)
        attack = copy.copy(self.attack)
        attack.epsilon *= scale
        attack.step_size *= scale
        return attack

    def get_config(self) -> Config:
        """Returns the constructor arguments, JSON-serializable.

        Raises:
          ValueError: if the attack or the schedule cannot be saved.
        """
        is_keras = isinstance(
            self.schedule, tf.keras.optimizers.schedules.LearningRateSchedule
        )
        if not is_keras and not serialization.is_registered(self.schedule):
            raise ValueError(
                "Expected a schedule of tf.keras.optimizers.schedules, or a "
                "function or class that is registered with tf.keras.utils."
                "register_keras_serializable, to save; received "
                f"{self.schedule!r}. Or save the weights (save_weights) or the "
                "exported network (export_network().save) instead."
            )
        return {
            "attack": serialization.serialize(self.attack),
            "schedule": tf.keras.utils.serialize_keras_object(self.schedule),
        }

    @classmethod
    def from_config(cls, config: Config) -> "ScheduledAttack":
        """Rebuilds an attack from `get_config`."""
        attack = cast(PGD, serialization.deserialize(config["attack"]))
        schedule = config["schedule"]
        if isinstance(schedule, dict):
            schedule = tf.keras.utils.deserialize_keras_object(schedule)
        return cls(attack, schedule)

    def __repr__(self) -> str:
        return f"ScheduledAttack({self.attack!r}, {self.schedule!r})"
