"""The attack of a training step, with its random seed and its checks."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import math
from typing import Any
from typing import Optional
import warnings

import numpy as np
import tensorflow as tf

from conadv_tf import keras_outputs
from conadv_tf.attacks import attack_loss_scaling
from conadv_tf.attacks import check_result
from conadv_tf.attacks import NoGradientError
from conadv_tf.attacks import value_range
from conadv_tf.batch_norm import batch_norm_branch
from conadv_tf.distribution import assign_local
from conadv_tf.distribution import local_values
from conadv_tf.distribution import local_variable
from conadv_tf.networks import layers_without_gradient
from conadv_tf.networks import state_variables
from conadv_tf.networks import variables
from conadv_tf.networks import writable_in_replica
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch import SubBatch


@contextlib.contextmanager
def explain_missing_gradient(network: tf.keras.Model) -> Iterator[None]:
    """Names the layers that have no gradient with respect to the images.

    Args:
      network: functional network, whose gradient is computed inside.

    Yields:
      Nothing.

    Raises:
      ValueError: in place of the error of TensorFlow or of the attack.
    """
    try:
        yield
    except (LookupError, NoGradientError) as error:
        names = layers_without_gradient(network)
        if not names:
            raise
        raise ValueError(
            "Expected a network with a gradient with respect to its images, "
            f"which the attack follows; received {', '.join(names)}, without a "
            "gradient. Move such a layer to the data pipeline, for example "
            "with dataset.map, or replace it."
        ) from error


class AttackPass:
    """Generates adversarial images and checks the images' value range.

    Create it under the strategy scope.

    Args:
      attack: `PGD` or another `ca.Attack`.
      loss: function of (labels, logits) to a scalar, which the attack
        maximizes.
      seed: int, key of the run's random draws.
      network: network with the layers that the attack runs.
    """

    def __init__(
        self,
        attack: Any,
        loss: Callable[..., tf.Tensor],
        seed: int,
        network: tf.keras.Model,
    ) -> None:
        self._attack = attack
        self._loss = loss
        self._seed = seed
        self._in_float16 = attack_loss_scaling.computes_in_float16(network)
        self._network = network
        state = state_variables(network)
        self._state = writable_in_replica(state)
        statistics = variables.moving_statistics(network)
        self._is_independent = not (statistics or state)
        # Number of attacks, a key of their random draws.
        self._step = local_variable(tf.constant(0, tf.int64), "step")
        # Numbers of images with NaN and of images out of range.
        self._out_of_range = local_variable(
            [0, 0], "out_of_range", aggregation=tf.VariableAggregation.SUM
        )
        # Smallest and largest pixel.
        self._pixels = local_variable([math.inf, -math.inf], "pixels")
        self._warned = False

    def __call__(self, network: tf.keras.Model, batch: Batch) -> tf.Tensor:
        """Returns the adversarial images of a batch, by `generate`."""
        seed = self.next_seed()
        self.count_out_of_range(batch)
        return self.generate(network, batch.attacked_sub_batch(), seed)

    def generate(
        self, network: tf.keras.Model, attacked: SubBatch, seed: tf.Tensor
    ) -> tf.Tensor:
        """Computes adversarial images by Eqs. (3) and (5).

            x_hat <- project(x_0 + step_size * ascent direction)

        The network runs through the auxiliary batch norm in training mode
        (batch statistics, dropout active). What layers write is restored, so
        that no variable changes.

        Args:
          network: network with the weights to attack, which may be stale.
          attacked: the images to attack and their labels.
          seed: int64 [2], (run seed, step).

        Returns:
          float32, shape of the images.
        """

        def auxiliary_logits(images: tf.Tensor) -> tf.Tensor:
            with batch_norm_branch("auxiliary", update_statistics=False):
                outputs = network(images, training=True)
            return tf.nest.flatten(outputs)[0]

        forward = attack_loss_scaling.LossScaledForward(
            auxiliary_logits, self._in_float16, self._is_independent
        )
        # Layers of stale networks write copies, which the next step replaces.
        state = self._state if network is self._network else []
        before = [tf.convert_to_tensor(each) for each in state]
        with explain_missing_gradient(network):
            adversarial = self._attack(
                forward,
                attacked.images,
                attacked.labels,
                seed=seed,
                loss=self._loss,
            )
        check_result(self._attack, adversarial, attacked.images)
        for variable, value in zip(state, before):
            variable.assign(value)
        return adversarial

    def initial_points(self, batch: Batch, seed: tf.Tensor) -> tf.Tensor:
        """Returns x_0, the points where the attack begins."""
        return self._attack.initial_points(batch.images, seed)

    def apply_gradient(
        self,
        start: tf.Tensor,
        gradient: tf.Tensor,
        batch: Batch,
        logits: tf.Tensor,
        logits_gradients: list[Optional[tf.Tensor]],
        seed: tf.Tensor,
    ) -> tf.Tensor:
        """Computes adversarial images from a gradient of the training loss.

        Args:
          start: float32 [attacked, ...], the initial points x_0.
          gradient: float32, the shape of `start`, of the training loss. Where
            it is not finite, it counts as zero.
          batch: the attacked images and their labels.
          logits: float32 [attacked, classes], of the initial points.
          logits_gradients: float32, the shape of `logits`, the gradients of
            the training loss by `keras_outputs.loss_inputs(logits)`; None where
            it does not depend on them. Where they oppose the gradients of the
            attack loss, the direction is reversed.
          seed: int64 [2], (run seed, step), the seed of `initial_points`.

        Returns:
          float32, shape of the images.
        """
        inputs = [
            tf.stop_gradient(each) for each in keras_outputs.loss_inputs(logits)
        ]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            logits = keras_outputs.with_loss_inputs(logits, inputs)
            loss = self._loss(batch.labels, logits)
        agreement = sum(
            tf.reduce_sum(ours * theirs, -1)
            for ours, theirs in zip(
                tape.gradient(loss, inputs), logits_gradients
            )
            if ours is not None and theirs is not None
        )
        ones = [1] * (gradient.shape.rank - 1)
        is_reversed = tf.reshape(agreement < 0, [-1, *ones])
        gradient = tf.where(is_reversed, -gradient, gradient)
        gradient = tf.where(tf.math.is_finite(gradient), gradient, 0.0)
        return tf.stop_gradient(
            self._attack.apply_gradient(start, gradient, batch.images, seed)
        )

    def next_seed(self, advance: bool = True) -> tf.Tensor:
        """Returns (run seed, step), int64 [2].

        Args:
          advance: whether to count a step.
        """
        # A data dependency orders the read and the write. Grappler may drop a
        # control edge, as it did for the optimizer's own counter.
        step = tf.convert_to_tensor(self._step)
        if advance:
            self._step.assign(step + 1)
        return tf.stack([tf.constant(self._seed, tf.int64), step])

    def count_out_of_range(self, batch: Batch) -> None:
        """Counts the images that have a NaN or a pixel out of range."""
        for each in batch.sub_batches().values():
            counts, ends = value_range.measure(
                each.images, self._attack.value_range
            )
            self._out_of_range.assign_add(counts)
            seen = tf.convert_to_tensor(self._pixels)
            self._pixels.assign(
                [tf.minimum(seen[0], ends[0]), tf.maximum(seen[1], ends[1])]
            )

    def check_value_range(
        self, strategy: tf.distribute.Strategy, whole_epoch: bool = False
    ) -> None:
        """Checks the counts (call in cross-replica context).

        Args:
          strategy: strategy of the model.
          whole_epoch: whether the images of a whole epoch have been counted.
            Images that use next to nothing of the value range are an error
            then; otherwise they are a warning.

        Raises:
          ValueError: if an image has a NaN or a pixel out of range.
        """
        nan, outside = self._out_of_range.read_value().numpy().tolist()
        # The pixels of this process; the counts are of all processes.
        ends = local_values(strategy, self._pixels)
        pixels = value_range.PixelStatistics(
            nan,
            outside,
            min(float(smallest) for smallest, _ in ends),
            max(float(largest) for _, largest in ends),
        )
        valid = self._attack.value_range
        if pixels.nan or pixels.outside:
            none = [np.zeros(2, np.int32)] * len(ends)
            assign_local(strategy, self._out_of_range, none)
            raise value_range.out_of_range_error(pixels, valid, "training")
        if pixels.use_little_of(valid):
            message = value_range.little_used_message(pixels, valid)
            if whole_epoch:
                raise ValueError(message)
            if not self._warned:
                self._warned = True
                warnings.warn(message)

    def variables(self) -> dict[str, tf.Variable]:
        """Returns the variables by name."""
        return {
            "step": self._step,
            "out_of_range": self._out_of_range,
            "out_of_range/pixels": self._pixels,
        }

    def reset(self, iterations: tf.Tensor) -> None:
        """Sets the step to the optimizer's (call in cross-replica context)."""
        self._step.assign(tf.cast(iterations, tf.int64))
