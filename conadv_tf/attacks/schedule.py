"""An attack that grows, or starts late, as training goes on."""

from collections.abc import Callable
import copy
from typing import cast
from typing import Optional

import tensorflow as tf

from conadv_tf.attacks import serialization
from conadv_tf.attacks.pgd import PGD
from conadv_tf.types import Config
from conadv_tf.types import Forward
from conadv_tf.types import Loss
from conadv_tf.types import TensorLike
from conadv_tf.types import ValueRange


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
class ScheduledAttack:
    """Another attack, with its radius scaled by a schedule of the step.

    At training step t epsilon and the step size are those of `attack` times
    schedule(t), clipped to [0, 1]. Not of the paper, which attacks at full
    strength from the first step; a remedy where early weights change too fast
    for a stale attack. `PiecewiseConstantDecay([99], [0.0, 1.0])` of Keras is
    an attack that starts at step 100.

    Where the schedule is 0 images come back as they are, without a random
    start, and the adversarial half trains the auxiliary batch norm on clean
    images; the attack is computed all the same. `model.save` needs a schedule
    that can be saved: Keras's are, and registered functions and classes.

    Args:
      attack: `PGD` or `FGSM`.
      schedule: Keras `LearningRateSchedule`, or any function of a step (int64
        scalar tensor) to a float; traced into the training step. ConAdvModel
        counts steps from 0, micro-batches of an update once.

    Raises:
      ValueError: if the attack has no epsilon, or the schedule cannot be
        called.

    Example: an attack that grows over 100 steps.
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
                f"Expected an attack with epsilon and step_size, as PGD; "
                f"received {attack!r}."
            )
        if not callable(schedule):
            raise ValueError(
                "Expected a schedule that can be called with a step; received "
                f"{schedule!r}."
            )
        self.attack = attack
        self.schedule = schedule

    @property
    def epsilon(self) -> float:
        """The radius at full strength."""
        return self.attack.epsilon

    @property
    def num_steps(self) -> int:
        """Gradient steps."""
        return self.attack.num_steps

    @property
    def targeted(self) -> Optional[str]:
        """Which label the attack descends towards, if any."""
        return self.attack.targeted

    @property
    def norm(self) -> str:
        """The norm of the radius."""
        return self.attack.norm

    @property
    def value_range(self) -> ValueRange:
        """Valid pixels."""
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
        """Crafts adversarial examples as of a step.

        Args:
          network: as in `PGD.__call__`.
          images: as in `PGD.__call__`.
          labels: as in `PGD.__call__`.
          seed: int tensor [2] of (run seed, step); an int has no step, and
            gets the attack at full strength.
          loss: as in `PGD.__call__`.
          targets: as in `PGD.__call__`.

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
        """The attack with the radius of a seed's step, if it has one."""
        if not seed.shape.rank:
            return self.attack
        scale = tf.cast(self.schedule(seed[1]), tf.float32)
        scale = tf.clip_by_value(scale, 0.0, 1.0)
        attack = copy.copy(self.attack)
        attack.epsilon *= scale
        attack.step_size *= scale
        return attack

    def get_config(self) -> Config:
        """The constructor arguments, JSON-serializable.

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
