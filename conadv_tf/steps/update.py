"""Updates the weights, Eq. (4) of the paper, if all gradients are finite.

A skipped update leaves weights, slots and moving statistics unchanged. It is
counted, and the optimizer's `iterations` go on, as with Keras's
`LossScaleOptimizer`, so that the learning rate schedule follows the data.
"""

from collections.abc import Sequence
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf import keras_optimizers
from conadv_tf.distribution import local_variable
from conadv_tf.networks import variables as variables_lib
from conadv_tf.steps.all_replicas import assign_mirrored
from conadv_tf.steps.all_replicas import replica_case
from conadv_tf.steps.all_replicas import sum_over_replicas
from conadv_tf.steps.batch import Batch


class FiniteUpdate:
    """Updates a network's weights unless a gradient is not finite.

    Create it under the strategy scope of the network.

    Args:
      network: functional network that is trained.
      optimizer: Keras optimizer, legacy ones included.
      loss: the `losses.Loss` of a batch.
      weights: the trainable weights to update; None updates all.

    Attributes:
      weights: the trainable weights that are updated.

    Raises:
      ValueError: if the optimizer has its own `minimize`.
    """

    def __init__(
        self,
        network: tf.keras.Model,
        optimizer: Any,
        loss: Any,
        weights: Optional[list[tf.Variable]] = None,
    ) -> None:
        keras_optimizers.check_minimize(optimizer)
        self._optimizer = optimizer
        self._loss = loss
        self._all_weights = network.trainable_variables
        self.weights = self._all_weights if weights is None else weights
        self._statistics = variables_lib.statistics(network)
        self._skipped = local_variable(tf.constant(0, tf.int64), "skipped")
        # -1 if no update was skipped.
        self._first_skipped = local_variable(
            tf.constant(-1, tf.int64), "first_skipped"
        )

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Updates weights, slots, moving statistics and metrics by one batch.

        Args:
          batch: the local `Batch` with its adversarial images, if any.

        Returns:
          The logs of `fit`.

        Raises:
          ValueError: if the batch has no adversarial images, but the loss has.
        """
        sub_batches = batch.sub_batches()
        if missing := sorted(set(self._loss.shares) - set(sub_batches)):
            raise ValueError(
                f"Expected a batch with the sub-batches {self._loss.shares}; "
                f"received one without {missing}. Pass "
                "batch.with_adversarial(images), or set requires_attack=False."
            )
        statistics = self.snapshot_statistics()
        with tf.GradientTape() as tape:
            outputs = self._loss(sub_batches)
        gradients = self.gradients(tape, outputs.loss)
        self.apply_gradients(gradients, statistics, after=outputs.loss)
        return self._loss.logs(batch, outputs)

    @property
    def skipped(self) -> int:
        """Number of skipped updates."""
        return self._skipped.read_value().numpy().item()

    @property
    def first_skipped(self) -> Optional[int]:
        """`optimizer.iterations` of the first skipped update, or None."""
        step = self._first_skipped.read_value().numpy().item()
        return None if step < 0 else step

    def variables(self) -> dict[str, tf.Variable]:
        """Returns the variables by name."""
        return {"skipped": self._skipped, "first_skipped": self._first_skipped}

    def create_slots(self) -> None:
        """Creates the optimizer's variables (call in cross-replica context)."""
        keras_optimizers.create_slots(self._optimizer, self._all_weights)

    def snapshot_statistics(self) -> list[tf.Tensor]:
        """Reads the moving statistics; call it before the forward pass."""
        return [tf.convert_to_tensor(value) for value in self._statistics]

    def restore_statistics(self, values: list[tf.Tensor]) -> None:
        """Assigns the moving statistics (call in replica context)."""
        for variable, value in zip(self._statistics, values):
            variable.assign(value)

    def gradients(
        self,
        tape: tf.GradientTape,
        loss: tf.Tensor,
        others: Sequence[tf.Tensor] = (),
    ) -> list[Optional[tf.Tensor]]:
        """Returns the gradients of a loss, None for weights it does not use.

        Args:
          tape: the tape that recorded the loss.
          loss: scalar, this replica's share of the sum over replicas. The
            optimizer may scale it.
          others: tensors on the tape; their gradients follow the weights'.
        """
        return keras_optimizers.compute_gradients(
            self._optimizer, loss, [*self.weights, *others], tape
        )

    def apply_gradients(
        self,
        gradients: list[Optional[tf.Tensor]],
        statistics: list[tf.Tensor],
        after: Any,
        ready: Optional[tf.Tensor] = None,
    ) -> None:
        """Updates the weights if all gradients are finite on all replicas.

        Args:
          gradients: gradients of this replica, one for each trainable weight.
          statistics: the moving statistics that a skipped update restores.
          after: tensor, or list of tensors, that the update waits for.
          ready: bool scalar, equal on all replicas. If it is False, nothing
            changes, `iterations` included. None means True.
        """
        pairs = [
            (gradient, variable)
            for gradient, variable in zip(gradients, self.weights)
            if gradient is not None
        ]
        if unused := [
            variable.name
            for gradient, variable in zip(gradients, self.weights)
            if gradient is None
        ]:
            message = f"The loss does not depend on the weights {unused}"
            if not pairs:
                raise ValueError(f"Expected a loss to train. {message}.")
            tf.get_logger().warning("%s, so they are not trained.", message)
        if not pairs:
            return
        optimizer = self._optimizer
        local, variables = zip(*pairs)
        own = keras_optimizers.has_own_apply_gradients(optimizer)
        if own:
            gradients = list(local)
            bad = tf.cast(tf.logical_not(all_finite(gradients)), tf.int32)
            finite = tf.equal(sum_over_replicas([bad])[0], 0)
        elif keras_optimizers.has_own_aggregation(optimizer):
            pairs = keras_optimizers.aggregate_gradients(optimizer, pairs)
            local, variables = zip(*pairs)
            gradients = list(local)
            finite = all_finite(gradients)
        else:
            gradients = sum_over_replicas(list(local))
            finite = all_finite(gradients)
        # At the end of a dataset of unknown length Keras calls the step once
        # more without data, and every operation that does not depend on the
        # data runs. The dependency on the loss holds `iterations` back.
        step = tf.cast(tf.convert_to_tensor(optimizer.iterations), tf.int64)
        outcome = tf.cast(finite, tf.int32)
        if ready is not None:
            finite = tf.logical_or(finite, tf.logical_not(ready))
            outcome = tf.where(ready, outcome, 2)
        self._count(finite, step)
        keras_optimizers.create_slots(optimizer, variables)

        def update(gradients: Any, statistics: Any) -> None:
            optimizer.apply_gradients(
                # All optimizers of Keras know this argument.
                list(zip(gradients, variables)),
                experimental_aggregate_gradients=False,
            )

        def skip(gradients: Any, statistics: Any) -> None:
            self.restore_statistics(statistics)
            # A dynamic loss scale skips the update and lowers the scale. A
            # fixed one would apply the gradients.
            if getattr(optimizer, "dynamic", False):
                update(gradients, statistics)
            else:
                optimizer.iterations.assign_add(1)

        branches = [skip, update]
        if ready is not None:
            branches.append(
                lambda gradients, statistics: self.restore_statistics(
                    statistics
                )
            )
        with tf.control_dependencies([*tf.nest.flatten(after), step]):
            if own:
                self._apply_or_restore(
                    gradients, variables, statistics, finite, ready
                )
            else:
                known = [*self._statistics, *keras_optimizers.state(optimizer)]
                used = [*variables, optimizer.iterations, *known]
                replica_case(outcome, branches, (gradients, statistics), used)

    def _apply_or_restore(
        self,
        gradients: Sequence[Any],
        variables: Sequence[tf.Variable],
        statistics: list[tf.Tensor],
        finite: tf.Tensor,
        ready: Optional[tf.Tensor],
    ) -> None:
        """Calls `apply_gradients` of a user's class, as Keras does.

        It may sum gradients over the replicas, which a conditional must not
        contain, or create variables. So it is always called, and what a skipped
        update has changed is restored.
        """
        optimizer = self._optimizer
        ready = tf.constant(True) if ready is None else ready
        counter = optimizer.iterations
        changed = [*variables, *keras_optimizers.state(optimizer)]
        changed = [each for each in changed if each is not counter]
        before = [tf.convert_to_tensor(each) for each in (*changed, counter)]
        optimizer.apply_gradients(list(zip(gradients, variables)))
        keep = [tf.logical_and(ready, finite)] * len(changed) + [ready]
        assign_mirrored(
            [*changed, counter],
            [
                tf.where(each, tf.convert_to_tensor(variable), old)
                for each, variable, old in zip(
                    keep, (*changed, counter), before
                )
            ],
        )
        self.restore_statistics(
            [
                tf.where(keep[0], tf.convert_to_tensor(variable), old)
                for variable, old in zip(self._statistics, statistics)
            ]
        )

    def _count(self, finite: tf.Tensor, step: tf.Tensor) -> None:
        first = tf.convert_to_tensor(self._first_skipped)
        is_first = tf.logical_and(tf.logical_not(finite), first < 0)
        self._first_skipped.assign(tf.where(is_first, step, first))
        self._skipped.assign_add(tf.cast(tf.logical_not(finite), tf.int64))


def all_finite(tensors: list[Any]) -> tf.Tensor:
    """Returns whether no element is NaN or infinite; bool scalar.

    A sum is not finite if one of its terms is not, and needs a single pass.
    """
    values = [
        tf.cast(getattr(tensor, "values", tensor), tf.float32)
        for tensor in tensors
    ]
    # One constant for each rank, not for each tensor.
    ranks = {each.shape.rank for each in values}
    axes = {
        rank: tf.constant([*range(rank)]) if rank else None for rank in ranks
    }
    sums = [tf.reduce_sum(each, axes[each.shape.rank]) for each in values]
    return tf.reduce_all(tf.math.is_finite(tf.stack(sums)))


def with_loss_scale(optimizer: Any) -> Any:
    """Returns the optimizer, wrapped in a `LossScaleOptimizer`.

    Keras decides this by the policy of the model, not of the network in it.
    """
    scaled = tf.keras.mixed_precision.LossScaleOptimizer
    if isinstance(optimizer, scaled):
        return optimizer
    return scaled(tf.keras.optimizers.get(optimizer))
