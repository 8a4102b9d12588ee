"""FGSM: PGD with a single full step."""

from typing import Optional
from typing import Union

import tensorflow as tf

from conadv_tf.attacks.pgd import PGD
from conadv_tf.types import Config
from conadv_tf.types import ValueRange


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
class FGSM(PGD):
    """Fast gradient sign method: one step of length epsilon.

        x_adv <- clip(x + epsilon * sign(grad_x loss(x, y)))

    Implements Goodfellow et al. 2015 (arXiv 1412.6572). Equal to `PGD` with
    one step of length epsilon. By default there is no random start; with one
    (Wong et al. 2020, arXiv 2001.03994) the step is projected back into the
    ball.

    Args:
      epsilon: radius of the ball and length of the step, in pixel units of
        `value_range`; >= 0.
      random_start: probability for each example to start at a uniform point
        of the ball; True is 1, False is 0.
      value_range: (low, high), the valid pixel values of the network's input.
      norm: "linf" or "l2"; for "l2" the step follows the normalized gradient.
      targeted: None ascends on the true label; "random" descends towards a
        uniformly drawn wrong label.

    Raises:
      ValueError: if an argument is out of its range.

    Example: a step of 0.1, clipped to the range of pixels.
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
        """Returns the constructor arguments, JSON-serializable."""
        config = super().get_config()
        del config["step_size"], config["num_steps"]
        return config
