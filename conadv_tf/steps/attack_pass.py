"""A pass that attacks a batch, with what makes it repeatable and safe."""

from collections.abc import Callable
from collections.abc import Iterator
import contextlib
import math
from typing import Any
import warnings

import numpy as np
import tensorflow as tf

from conadv_tf.attacks import attack_loss_scaling
from conadv_tf.attacks import NoGradientError
from conadv_tf.attacks import value_range
from conadv_tf.batch_norm import batch_norm_branch
from conadv_tf.distribution import assign_local
from conadv_tf.distribution import local_values
from conadv_tf.distribution import local_variable
from conadv_tf.networks import layers_without_gradient
from conadv_tf.networks import variables
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch import Part


@contextlib.contextmanager
def naming_layers(network: tf.keras.Model) -> Iterator[None]:
    """Names the layers where there is no gradient by the images.

    Args:
      network: functional network, whose gradient is taken inside.

    Yields:
      Nothing.

    Raises:
      ValueError: in place of what TensorFlow or an attack says of it.
    """
    try:
        yield
    except (LookupError, NoGradientError) as error:
        names = layers_without_gradient(network)
        if not names:
            raise
        raise ValueError(
            "Expected a network with a gradient by its images, which the "
            f"attack follows; received {', '.join(names)}, without a gradient. "
            "Move such a layer to the data pipeline, for example with "
            "dataset.map, or replace it."
        ) from error


class AttackPass:
    """Crafts adversarial images, and counts what it attacks.

    Create it under the strategy scope.

    Args:
      attack: `PGD` or a callable like it.
      loss: callable (labels, logits) -> scalar that it climbs.
      seed: int, of the run.
    """

    def __init__(
        self, attack: Any, loss: Callable[..., tf.Tensor], seed: int
    ) -> None:
        self._attack = attack
        self._loss = loss
        self._seed = seed
        # Counts attacks; keys their randomness.
        self._step = local_variable(tf.constant(0, tf.int64), "step")
        # Images with NaN, images out of range; ends of the pixels.
        self._out_of_range = local_variable(
            [0, 0], "out_of_range", aggregation=tf.VariableAggregation.SUM
        )
        self._pixels = local_variable([math.inf, -math.inf], "pixels")
        self._warned = False

    def __call__(self, network: tf.keras.Model, batch: Batch) -> tf.Tensor:
        """x_hat of the part of a batch that is attacked; see `craft`."""
        seed = self.next_seed()
        self.count_out_of_range(batch)
        return self.craft(network, batch.to_attack(), seed)

    def craft(
        self, network: tf.keras.Model, part: Part, seed: tf.Tensor
    ) -> tf.Tensor:
        """x_hat = project(x + step * ascent direction), Eqs. (3) and (5).

        Through the auxiliary batch norm in training mode (batch statistics,
        dropout active); writes no variable.

        Args:
          network: with the weights to attack, which may be stale.
          part: the images to attack, and their labels.
          seed: int64 [2], (run seed, step).

        Returns:
          float32, shape of the images.
        """

        def auxiliary_logits(images: tf.Tensor) -> tf.Tensor:
            with batch_norm_branch("auxiliary", update_statistics=False):
                return network(images, training=True)

        forward = attack_loss_scaling.LossScaledForward(
            auxiliary_logits,
            attack_loss_scaling.computes_in_float16(network),
            is_independent=not variables.moving_statistics(network),
        )
        with naming_layers(network):
            return self._attack(
                forward,
                part.images,
                part.labels,
                seed=seed,
                loss=self._loss,
            )

    def start(self, batch: Batch, seed: tf.Tensor) -> tf.Tensor:
        """x_0, where the attack of a batch begins; see `PGD.initial_points`."""
        return self._attack.initial_points(batch.images, seed)

    def ascend(
        self,
        start: tf.Tensor,
        direction: tf.Tensor,
        batch: Batch,
        logits: tf.Tensor,
        by_logits: tf.Tensor,
        seed: tf.Tensor,
    ) -> tf.Tensor:
        """x_hat by a gradient of the training loss that is there anyway.

        Args:
          start: what `start` returned.
          direction: float32, same shape, the gradient by it; where it is not
            finite there is no direction.
          batch: the images and their labels.
          logits: float32 [batch, classes], of the start.
          by_logits: float32, same shape, the training loss's gradient by them;
            where it points away from the attack loss's, the direction turns.
          seed: int64 [2], as for `start`.

        Returns:
          float32, shape of the images.
        """
        logits = tf.stop_gradient(logits)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(logits)
            loss = self._loss(batch.labels, logits)
        agreement = tf.reduce_sum(tape.gradient(loss, logits) * by_logits, -1)
        ones = [1] * (direction.shape.rank - 1)
        turned = tf.reshape(agreement < 0, [-1, *ones])
        direction = tf.where(turned, -direction, direction)
        direction = tf.where(tf.math.is_finite(direction), direction, 0.0)
        return tf.stop_gradient(
            self._attack.apply_gradient(start, direction, batch.images, seed)
        )

    def next_seed(self, advance: bool = True) -> tf.Tensor:
        """(run seed, step), int64 [2]; `advance` counts the step."""
        # Read and written with a data dependency between the two: Grappler may
        # drop a control edge, as it did for the optimizer's own counter.
        step = tf.convert_to_tensor(self._step)
        if advance:
            self._step.assign(step + 1)
        return tf.stack([tf.constant(self._seed, tf.int64), step])

    def count_out_of_range(self, batch: Batch) -> None:
        """Counts images with pixels that are NaN or out of range."""
        for part in batch.parts().values():
            counts, ends = value_range.measure(
                part.images, self._attack.value_range
            )
            self._out_of_range.assign_add(counts)
            seen = tf.convert_to_tensor(self._pixels)
            self._pixels.assign(
                [tf.minimum(seen[0], ends[0]), tf.maximum(seen[1], ends[1])]
            )

    def check_value_range(
        self, strategy: tf.distribute.Strategy, whole_epoch: bool = False
    ) -> None:
        """Looks at what was counted (across replicas).

        Args:
          strategy: of the model.
          whole_epoch: whether so much was seen that images which use next to
            nothing of the range are an error; else they are a warning.

        Raises:
          ValueError: if images have a NaN or are out of range.
        """
        nan, outside = self._out_of_range.read_value().numpy().tolist()
        # Those of this process; the counts are of all.
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
        """The variables this keeps, by name."""
        return {
            "step": self._step,
            "out_of_range": self._out_of_range,
            "out_of_range/pixels": self._pixels,
        }

    def reset(self, iterations: tf.Tensor) -> None:
        """Goes on counting where the optimizer is (across replicas)."""
        self._step.assign(tf.cast(iterations, tf.int64))
