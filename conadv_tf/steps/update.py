"""Applies gradients, unless one of them is not finite.

A skipped update leaves weights, slots and moving statistics as they were; it
is counted, and the optimizer's `iterations` go on, as Keras's
`LossScaleOptimizer` does it, so that the schedule stays with the data.
"""

import tensorflow as tf

from conadv_tf.distribution import local_variable
from conadv_tf.networks.variables import moving_statistics


class GuardedUpdate:
    """The update of a network's weights by an optimizer.

    Create it under the strategy scope of the network.

    Args:
      network: the network that is trained.
      microbatches: `MicroBatches` of the network, or None where every batch
        makes an update.
    """

    def __init__(self, network, microbatches=None):
        self._variables = network.trainable_variables
        self._statistics = moving_statistics(network)
        self._microbatches = microbatches
        self.skipped = local_variable(tf.constant(0, tf.int64), "skipped")
        # -1: none yet.
        self.first_skipped = local_variable(
            tf.constant(-1, tf.int64), "first_skipped"
        )

    def begin(self):
        """Reads the moving statistics; call it before the forward pass.

        Returns:
          List of tensors, for `apply`.
        """
        return [tf.convert_to_tensor(value) for value in self._statistics]

    def apply(self, optimizer, tape, loss, statistics):
        """Updates the weights if all gradients are finite on all replicas.

        Args:
          optimizer: Keras optimizer, legacy ones too.
          tape: the tape that recorded the loss.
          loss: scalar, this replica's share of the sum over replicas.
          statistics: what `begin` returned.
        """
        gradients = self.gradients(optimizer, tape, loss)
        if self._microbatches is not None:
            gradients, mean = self._microbatches.add(
                gradients, statistics, self.begin()
            )
            if not self._microbatches.is_last:
                self._write_statistics(statistics)
                return
            self._microbatches.finish()
            self._write_statistics(mean)
        self.apply_gradients(optimizer, gradients, statistics, loss)

    def gradients(self, optimizer, tape, loss):
        """The gradients of a loss, None where a weight has no part in it.

        Args:
          optimizer: Keras optimizer, legacy ones too; it may scale the loss.
          tape: the tape that recorded the loss.
          loss: scalar, this replica's share of the sum over replicas.
        """
        # Not of the tape: the optimizer may scale the loss meanwhile.
        compute = getattr(optimizer, "compute_gradients", None)
        if compute is None:  # A legacy optimizer, such as tensorflow-addons's.
            compute = optimizer._compute_gradients
        pairs = compute(loss, self._variables, tape=tape)
        return [gradient for gradient, _ in pairs]

    def apply_gradients(
        self, optimizer, gradients, statistics, after, ready=None
    ):
        """Updates the weights by the sum of the replicas' gradients.

        Args:
          optimizer: as in `apply`.
          gradients: what `gradients` returned, on this replica.
          statistics: what `begin` returned.
          after: tensor, or a list of them, that the update waits for.
          ready: bool scalar, equal on all replicas; where it is False nothing
            happens, and `iterations` stand still. None is True.
        """
        pairs = [
            (gradient, variable)
            for gradient, variable in zip(gradients, self._variables)
            if gradient is not None
        ]
        if not pairs:
            return
        gradients, variables = zip(*pairs)
        gradients = sum_over_replicas(list(gradients))
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
        _create_slots(optimizer, variables)

        def update(gradients, statistics):
            optimizer.apply_gradients(
                # This name of the argument is known to all Keras optimizers.
                list(zip(gradients, variables)),
                experimental_aggregate_gradients=False,
            )

        def skip(gradients, statistics):
            self._write_statistics(statistics)
            if is_loss_scaler:
                update(gradients, statistics)  # Skips, and lowers the scale.
            else:
                optimizer.iterations.assign_add(1)

        is_loss_scaler = isinstance(
            optimizer, tf.keras.mixed_precision.LossScaleOptimizer
        )
        branches = [skip, update]
        if ready is not None:
            branches.append(lambda gradients, statistics: None)
        with tf.control_dependencies([*tf.nest.flatten(after), step]):
            replica_case(outcome, branches, (gradients, statistics))

    def _write_statistics(self, values):
        for variable, value in zip(self._statistics, values):
            variable.assign(value)

    def _count(self, finite, step):
        first = tf.convert_to_tensor(self.first_skipped)
        is_first = tf.logical_and(tf.logical_not(finite), first < 0)
        self.first_skipped.assign(tf.where(is_first, step, first))
        self.skipped.assign_add(tf.cast(tf.logical_not(finite), tf.int64))


def sum_over_replicas(tensors):
    """Sums a list of dense tensors or slices over all replicas."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def all_finite(tensors):
    """Whether no element is NaN or infinite; bool scalar.

    A sum is not finite if one of its terms is not, and takes one pass.
    """
    sums = [
        tf.reduce_sum(tf.cast(getattr(tensor, "values", tensor), tf.float32))
        for tensor in tensors
    ]
    return tf.reduce_all(tf.math.is_finite(tf.stack(sums)))


def replica_case(index, branches, args):
    """Calls one of several functions in each replica, for what they write.

    A plain conditional in a replica of MirroredStrategy cannot hold what needs
    all replicas, an optimizer's update for example.

    Args:
      index: int32 scalar, equal on all replicas.
      branches: functions of `*args`; what they return is dropped.
      args: tuple of structures of tensors of this replica.
    """
    if tf.__internal__.distribute.strategy_supports_no_merge_call():
        _case(index, [_branch(each, *args) for each in branches])
        return

    def across_replicas(strategy, index, *args):
        run = strategy.extended.call_for_each_replica
        _case(
            strategy.experimental_local_results(index)[0],
            [_branch(run, each, args=args) for each in branches],
        )

    tf.distribute.get_replica_context().merge_call(
        across_replicas, args=(index, *args)
    )


def _case(index, branches):
    """`tf.switch_case`, whose arguments XLA tries to compute when it compiles.

    With gradients as arguments that is the whole step, on one core and for
    minutes; `tf.cond` leaves them alone.
    """
    first, *others = branches
    if not others:
        return first()
    return tf.cond(tf.equal(index, 0), first, lambda: _case(index - 1, others))


def _branch(function, *args, **kwargs):
    """A branch of a conditional, which must return something."""

    def run():
        function(*args, **kwargs)
        return tf.constant(True)

    return run


def _create_slots(optimizer, variables):
    # In a conditional they could not be created any more.
    with tf.init_scope():
        if hasattr(optimizer, "build"):
            optimizer.build(variables)
        else:
            optimizer._create_all_weights(variables)


def with_loss_scale(optimizer):
    """Keras does this by the policy of the model; the network's counts."""
    scaled = tf.keras.mixed_precision.LossScaleOptimizer
    if isinstance(optimizer, scaled):
        return optimizer
    return scaled(tf.keras.optimizers.get(optimizer))
