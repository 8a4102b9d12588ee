"""FGSM: PGD in one step."""

from typing import Optional
from typing import Union

import tensorflow as tf

from conadv_tf.attacks.pgd import PGD
from conadv_tf.types import Config
from conadv_tf.types import ValueRange


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
class FGSM(PGD):
    """Fast gradient sign method: one full step of length epsilon.

        x_adv <- clip(x + epsilon * sign(grad_x loss(x, y)))

    Goodfellow et al. 2015 (arXiv 1412.6572). PGD with one step of epsilon and,
    by default, no random start; with one (Wong et al. 2020) the step is
    projected back into the ball.

    Args:
      epsilon: as in `PGD`.
      random_start: as in `PGD`.
      value_range: as in `PGD`.
      norm: as in `PGD`.
      targeted: as in `PGD`.

    Raises:
      ValueError: if an argument is out of its range.

    Example: a step of 0.1, cut off where pixels end.
      >>> network = lambda images: images @ [[1.0], [-2.0]]
      >>> attack = ca.FGSM(epsilon=0.1)
      >>> attack(network, [[0.05, 0.5]], labels=[1], seed=0).numpy()
      array([[0. , 0.6]], dtype=float32)
    """

    def __init__(
        self,
        epsilon: float,
        *,
        random_start: Union[bool, float] = False,
        value_range: ValueRange = (0.0, 1.0),
        norm: str = "linf",
        targeted: Optional[str] = None,
    ) -> None:
        super().__init__(
            epsilon,
            random_start=random_start,
            value_range=value_range,
            norm=norm,
            targeted=targeted,
        )

    def get_config(self) -> Config:
        """The constructor arguments, JSON-serializable."""
        config = super().get_config()
        del config["step_size"], config["num_steps"]
        return config
