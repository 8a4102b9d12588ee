"""Applies gradients, unless one of them is not finite.

A skipped update leaves weights, slots and moving statistics as they were; it
is counted, and the optimizer's `iterations` go on, as Keras's
`LossScaleOptimizer` does it, so that the schedule stays with the data.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.distribution import local_variable
from conadv_tf.networks import variables as variables_lib


class GuardedUpdate:
    """The update of a network's weights by an optimizer.

    Create it under the strategy scope of the network.

    Args:
      network: the network that is trained.
    """

    def __init__(self, network: tf.keras.Model) -> None:
        self._variables = network.trainable_variables
        self._statistics = variables_lib.moving_statistics(network)
        self._skipped = local_variable(tf.constant(0, tf.int64), "skipped")
        # -1: none yet.
        self._first_skipped = local_variable(
            tf.constant(-1, tf.int64), "first_skipped"
        )

    @property
    def skipped(self) -> int:
        """Updates that were skipped."""
        return self._skipped.read_value().numpy().item()

    @property
    def first_skipped(self) -> Optional[int]:
        """`optimizer.iterations` of the first skipped update, if any."""
        step = self._first_skipped.read_value().numpy().item()
        return None if step < 0 else step

    def variables(self) -> dict[str, tf.Variable]:
        """The variables this keeps, by name."""
        return {
            "skipped": self._skipped,
            "first_skipped": self._first_skipped,
        }

    def begin(self) -> list[tf.Tensor]:
        """Reads the moving statistics; call it before the forward pass.

        Returns:
          List of tensors, for `apply_gradients`.
        """
        return [tf.convert_to_tensor(value) for value in self._statistics]

    def gradients(
        self,
        optimizer: Any,
        tape: tf.GradientTape,
        loss: tf.Tensor,
        others: Sequence[tf.Tensor] = (),
    ) -> list[Optional[tf.Tensor]]:
        """The gradients of a loss, None where a weight has no part in it.

        Args:
          optimizer: Keras optimizer, legacy ones too; it may scale the loss.
          tape: the tape that recorded the loss.
          loss: scalar, this replica's share of the sum over replicas.
          others: tensors on the tape; their gradients follow the weights'.
        """
        return keras_internals.compute_gradients(
            optimizer, loss, [*self._variables, *others], tape
        )

    def apply_gradients(
        self,
        optimizer: Any,
        gradients: list[Optional[tf.Tensor]],
        statistics: list[tf.Tensor],
        after: Any,
        ready: Optional[tf.Tensor] = None,
    ) -> None:
        """Updates the weights if all gradients are finite on all replicas.

        Args:
          optimizer: Keras optimizer, legacy ones too.
          gradients: what `gradients` returned, on this replica.
          statistics: what `begin` returned.
          after: tensor, or a list of them, that the update waits for.
          ready: bool scalar, equal on all replicas; where it is False
            `iterations` stand still too. None is True.
        """
        pairs = [
            (gradient, variable)
            for gradient, variable in zip(gradients, self._variables)
            if gradient is not None
        ]
        if not pairs:
            return
        local, variables = zip(*pairs)
        gradients = sum_over_replicas(list(local))
        finite = all_finite(gradients)
        # At the end of a dataset of unknown length Keras calls the step once
        # more, and what does not wait for the data runs: `iterations`, which
        # the dependency on the loss holds back.
        step = tf.cast(tf.convert_to_tensor(optimizer.iterations), tf.int64)
        outcome = tf.cast(finite, tf.int32)
        if ready is not None:
            finite = tf.logical_or(finite, tf.logical_not(ready))
            outcome = tf.where(ready, outcome, 2)
        self._count(finite, step)
        keras_internals.create_slots(optimizer, variables)

        def update(gradients: Any, statistics: Any) -> None:
            optimizer.apply_gradients(
                # This name of the argument is known to all Keras optimizers.
                list(zip(gradients, variables)),
                experimental_aggregate_gradients=False,
            )

        def skip(gradients: Any, statistics: Any) -> None:
            self.write_statistics(statistics)
            if is_loss_scaler:
                update(gradients, statistics)  # Skips, and lowers the scale.
            else:
                optimizer.iterations.assign_add(1)

        is_loss_scaler = isinstance(
            optimizer, tf.keras.mixed_precision.LossScaleOptimizer
        )
        branches = [skip, update]
        if ready is not None:
            branches.append(
                lambda gradients, statistics: self.write_statistics(statistics)
            )
        with tf.control_dependencies([*tf.nest.flatten(after), step]):
            replica_case(outcome, branches, (gradients, statistics))

    def create_slots(self, optimizer: Any) -> None:
        """Creates an optimizer's variables (in the cross-replica context)."""
        keras_internals.create_slots(optimizer, self._variables)

    def write_statistics(self, values: list[tf.Tensor]) -> None:
        """Sets the moving statistics (in a replica's step)."""
        for variable, value in zip(self._statistics, values):
            variable.assign(value)

    def _count(self, finite: tf.Tensor, step: tf.Tensor) -> None:
        first = tf.convert_to_tensor(self._first_skipped)
        is_first = tf.logical_and(tf.logical_not(finite), first < 0)
        self._first_skipped.assign(tf.where(is_first, step, first))
        self._skipped.assign_add(tf.cast(tf.logical_not(finite), tf.int64))


def sum_over_replicas(tensors: list[Any]) -> list[Any]:
    """Sums a list of dense tensors or slices over all replicas."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def all_finite(tensors: list[Any]) -> tf.Tensor:
    """Whether no element is NaN or infinite; bool scalar.

    A sum is not finite if one of its terms is not, and takes one pass.
    """
    sums = [
        tf.reduce_sum(tf.cast(getattr(tensor, "values", tensor), tf.float32))
        for tensor in tensors
    ]
    return tf.reduce_all(tf.math.is_finite(tf.stack(sums)))


def replica_case(
    index: tf.Tensor, branches: list[Callable[..., Any]], args: tuple[Any, ...]
) -> None:
    """Calls one of several functions in each replica, for what they write.

    A plain conditional in a replica of MirroredStrategy cannot hold what needs
    all replicas, an optimizer's update for example.

    Args:
      index: int32 scalar, equal on all replicas.
      branches: functions of `*args`; what they return is dropped.
      args: tuple of structures of tensors of this replica.
    """
    if keras_internals.supports_no_merge_call():
        _case(index, [_branch(each, *args) for each in branches])
        return

    def across_replicas(
        strategy: tf.distribute.Strategy, index: Any, *args: Any
    ) -> None:
        run = strategy.extended.call_for_each_replica
        _case(
            strategy.experimental_local_results(index)[0],
            [_branch(run, each, args=args) for each in branches],
        )

    tf.distribute.get_replica_context().merge_call(
        across_replicas, args=(index, *args)
    )


def _case(index: tf.Tensor, branches: list[Callable[[], Any]]) -> Any:
    """`tf.switch_case`, whose arguments XLA tries to compute when it compiles.

    With gradients as arguments that is the whole step, on one core and for
    minutes; `tf.cond` leaves them alone.
    """
    first, *others = branches
    if not others:
        return first()
    return tf.cond(tf.equal(index, 0), first, lambda: _case(index - 1, others))


def _branch(
    function: Callable[..., Any], *args: Any, **kwargs: Any
) -> Callable[[], tf.Tensor]:
    """A branch of a conditional, which must return something."""

    def run() -> tf.Tensor:
        function(*args, **kwargs)
        return tf.constant(True)

    return run


def with_loss_scale(optimizer: Any) -> Any:
    """Keras does this by the policy of the model; the network's counts."""
    scaled = tf.keras.mixed_precision.LossScaleOptimizer
    if isinstance(optimizer, scaled):
        return optimizer
    return scaled(tf.keras.optimizers.get(optimizer))
