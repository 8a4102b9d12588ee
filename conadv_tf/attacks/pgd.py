"""PGD: adversarial examples inside an L-infinity or L2 ball.

`PGD` holds the hyper-parameters and loops over the pure functions of
`attack_ops`. An attack computes in float32 even if the network does not, and
it writes no variable. The callable that it receives as network decides which
batch norm branch and which statistics are used.
"""

from typing import Optional
from typing import Union

import tensorflow as tf

from conadv_tf.attacks import attack_loss_scaling
from conadv_tf.attacks import attack_ops
from conadv_tf.attacks import hyper_parameters
from conadv_tf.attacks import loss as loss_lib
from conadv_tf.attacks import value_range as value_range_lib
from conadv_tf.types import Config
from conadv_tf.types import Forward
from conadv_tf.types import Loss
from conadv_tf.types import TensorLike
from conadv_tf.types import ValueRange


class NoGradientError(ValueError):
    """No gradient connects the attack's loss to the images."""


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
class PGD:
    """Projected gradient descent with one or more steps and a random start.

    For images x with true labels y:

        x_0 <- x + random start
        x_k+1 <- project(x_k + step_size * direction(grad_x loss(x_k, y)))

    where direction is the sign of the gradient for "linf" and the normalized
    gradient for "l2". Implements Eqs. (3) and (5) of Liu et al. 2022 (arXiv
    2106.00221). The authors' code descends towards a random wrong label
    instead of ascending on the true label; use `targeted="random"` for that.

    A PGD object is stateless and works with any network.

    Args:
      epsilon: radius of the ball, in pixel units of `value_range` (8/255 on
        [0, 1] images is 8 grey levels; for "l2" the Euclidean distance over
        all pixels and channels of an image); >= 0, for "linf" at most the
        width of the range. With 0 the images are returned unchanged. A
        value under a thousandth of the width causes a warning.
      step_size: length of a step in the same units and norm; > 0, or 0 if
        epsilon is 0. None means `epsilon` for one step, and
        2.5 * epsilon / num_steps for several (Madry et al. 2018).
      num_steps: number of gradient steps, >= 1.
      random_start: probability for each example to start at a uniform point
        of the ball; True is 1, False is 0. The paper's code uses 0.8.
      value_range: (low, high), the valid pixel values of the network's
        input. Images must lie inside it, up to rounding.
      norm: "linf" or "l2".
      targeted: None ascends on the true label; "random" descends towards a
        uniformly drawn wrong label. For a label row with several ones this is
        a single class that is not among them.

    Raises:
      ValueError: if an argument is out of its range.

    Example: each pixel moves in the direction that lowers the logit.
      >>> network = lambda images: images @ [[1.0], [-2.0]]
      >>> attack = ca.PGD(epsilon=0.1, num_steps=2, random_start=False)
      >>> attack(network, [[0.5, 0.5]], labels=[1], seed=0).numpy()
      array([[0.4, 0.6]], dtype=float32)
    """

    def __init__(
        self,
        epsilon: float,
        *,
        step_size: Optional[float] = None,
        num_steps: int = 1,
        random_start: Union[bool, float] = True,
        value_range: ValueRange = (0.0, 1.0),
        norm: str = "linf",
        targeted: Optional[str] = None,
    ) -> None:
        value_range = value_range_lib.checked_range(value_range)
        hyper_parameters.check(
            epsilon,
            step_size,
            num_steps,
            random_start,
            norm,
            targeted,
            value_range,
        )
        if step_size is None:
            step_size = epsilon * (1.0 if num_steps == 1 else 2.5 / num_steps)
        self.epsilon = float(epsilon)
        self.step_size = float(step_size)
        self.num_steps = int(num_steps)
        self.random_start = float(random_start)
        self.value_range = value_range
        self.norm = norm
        self.targeted = targeted

    def __call__(
        self,
        network: Forward,
        images: TensorLike,
        labels: TensorLike,
        seed: TensorLike,
        loss: Optional[Loss] = None,
        targets: Optional[TensorLike] = None,
    ) -> tf.Tensor:
        """Generates adversarial examples.

        A Keras model is called with `training=False`, so its batch norms use
        their moving statistics, and split batch norms use the main branch.
        Any other callable decides for itself: `ConAdvModel` passes one that
        runs the stale weights through the auxiliary batch norm in training
        mode (batch statistics) without updating the moving statistics. No
        variable is written in either case. If the network computes in float16,
        the gradient is scaled in the backward pass
        (`attacks.attack_loss_scaling`).

        Args:
          network: Keras model or callable, images to logits [batch, classes].
          images: [batch, ...] floats inside `value_range`; the batch
            dimension may be unknown.
          labels: class ids ([batch] or [batch, 1], any integer or float
            dtype) or one-hot rows [batch, classes].
          seed: int, or int tensor [2] of (run seed, step). Equal seeds give
            equal draws.
          loss: callable (labels, logits) -> scalar, the *sum* over the
            examples; None is the cross-entropy of logits.
          targets: labels to descend towards, in the format of `labels`.
            They replace the true labels and override `targeted`.

        Returns:
          float32, same shape as images: within epsilon of them and inside
          `value_range`.

        Raises:
          ValueError: in eager mode, if an image lies outside `value_range`
            or has a NaN; without a loss, if the network is a functional model
            that ends in softmax or sigmoid.
          NoGradientError: if the loss does not depend on the images.
        """
        images = tf.convert_to_tensor(images)
        labels = tf.convert_to_tensor(labels)
        images = value_range_lib.float_images(images, self.value_range)
        if tf.executing_eagerly():
            value_range_lib.check_images(images, self.value_range)
        seed = _seed_pair(seed)
        loss = loss_lib.loss_or_default(network, loss)
        forward = attack_loss_scaling.scaled_forward(network)
        given = None if targets is None else tf.convert_to_tensor(targets)

        def objective(points: tf.Tensor) -> tf.Tensor:
            logits = tf.cast(forward(points), tf.float32)
            if given is not None:
                return -loss(given, logits)
            if self.targeted == "random":
                # One logit tells two classes apart.
                wrong = attack_ops.random_wrong_labels(
                    labels, max(logits.shape[-1], 2), seed
                )
                return -loss(wrong, logits)
            return loss(labels, logits)

        adversarial = self.initial_points(images, seed)
        # Unrolled: there are few steps, and the compiler can fuse them.
        for _ in range(self.num_steps):
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(adversarial)
                value = objective(adversarial)
            gradient = tape.gradient(value, adversarial)
            if gradient is None:
                raise NoGradientError(
                    "The attack loss does not depend on the images, so there "
                    "is no direction to attack. Check that the network's "
                    "output is computed from its input by differentiable "
                    "operations."
                )
            adversarial = self.apply_gradient(
                adversarial, gradient, images, seed
            )
        return tf.stop_gradient(adversarial)

    def initial_points(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Computes x_0: the images, moved by the random start.

        Args:
          images: float32 [batch, ...] inside `value_range`.
          seed: int tensor [2] of (run seed, step).

        Returns:
          float32, same shape, inside the ball and `value_range`.
        """
        if self.random_start == 0.0:
            return images
        moved = attack_ops.random_start(
            images, self.epsilon, self.norm, self.random_start, seed
        )
        return self._project(moved, images)

    def apply_gradient(
        self,
        points: tf.Tensor,
        gradient: tf.Tensor,
        images: tf.Tensor,
        seed: tf.Tensor,
    ) -> tf.Tensor:
        """Computes x_k+1 from x_k: one step of ascent along a gradient.

        Args:
          points: float32 [batch, ...], x_k.
          gradient: float32, same shape; only its direction counts.
          images: float32, same shape, the centres of the balls.
          seed: int tensor [2] of (run seed, step); not used by PGD.

        Returns:
          float32, same shape, inside the ball and `value_range`.
        """
        return self._project(
            attack_ops.ascent_step(points, gradient, self.step_size, self.norm),
            images,
        )

    def _project(self, adversarial: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
        return attack_ops.project(
            adversarial, images, self.epsilon, self.norm, self.value_range
        )

    def get_config(self) -> Config:
        """Returns the constructor arguments, JSON-serializable."""
        return {
            "epsilon": self.epsilon,
            "step_size": self.step_size,
            "num_steps": self.num_steps,
            "random_start": self.random_start,
            "value_range": list(self.value_range),
            "norm": self.norm,
            "targeted": self.targeted,
        }

    @classmethod
    def from_config(cls, config: Config) -> "PGD":
        """Rebuilds an attack from `get_config`."""
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(
            f"{key}={value!r}" for key, value in self.get_config().items()
        )
        return f"{type(self).__name__}({arguments})"


def _seed_pair(seed: TensorLike) -> tf.Tensor:
    seed = tf.cast(tf.convert_to_tensor(seed), tf.int64)
    if seed.shape.rank == 0:
        return tf.stack([seed, tf.zeros_like(seed)])
    if seed.shape.as_list() != [2]:
        raise ValueError(
            "Expected an integer seed or an int tensor [2] of (seed, step); "
            f"received shape {seed.shape}."
        )
    return seed
