"""Sums, assignments and conditionals that all replicas execute together."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from conadv_tf import keras_internals


def sum_over_replicas(tensors: list[Any]) -> list[Any]:
    """Sums a list of dense tensors or slices over all replicas."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def assign_mirrored(
    variables: Sequence[tf.Variable], values: Sequence[tf.Tensor]
) -> None:
    """Assigns variables that are equal on all replicas, in a replica."""

    def assign(strategy: tf.distribute.Strategy, values: Sequence[Any]) -> None:
        for variable, value in zip(variables, values):
            strategy.extended.update(
                variable, lambda one, new: one.assign(new), args=(value,)
            )

    if keras_internals.supports_no_merge_call():
        assign(tf.distribute.get_strategy(), values)
    else:
        tf.distribute.get_replica_context().merge_call(assign, args=(values,))


def replica_case(
    index: tf.Tensor,
    branches: list[Callable[..., Any]],
    args: tuple[Any, ...],
    variables: Sequence[tf.Variable],
) -> None:
    """Calls one of several functions in each replica for its side effects.

    In a replica of MirroredStrategy a plain conditional cannot contain an
    operation that needs all replicas, such as an optimizer's update.

    Args:
      index: int32 scalar, equal on all replicas.
      branches: functions of `*args`; their results are dropped.
      args: tuple of structures of tensors of this replica.
      variables: all variables that the functions use.
    """
    if keras_internals.supports_no_merge_call():
        result = _case(index, [_branch(each, *args) for each in branches])
        if _are_on_one_cpu(variables):
            keras_internals.keep_conditional(result)
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


def _are_on_one_cpu(variables: Sequence[tf.Variable]) -> bool:
    kinds = {each.device_type for each in tf.config.list_logical_devices()}
    return kinds == {"CPU"} and len({each.device for each in variables}) == 1


def _case(index: tf.Tensor, branches: list[Callable[[], Any]]) -> Any:
    """Calls the branch with this index.

    XLA tries to evaluate the arguments of `tf.switch_case` when it compiles.
    With gradients as arguments that is the whole step, on one core and for
    minutes. It does not evaluate the arguments of `tf.cond`.
    """
    first, *others = branches
    if len(others) == 1:
        return tf.cond(tf.equal(index, 0), first, others[0])
    return tf.cond(tf.equal(index, 0), first, lambda: _case(index - 1, others))


def _branch(
    function: Callable[..., Any], *args: Any, **kwargs: Any
) -> Callable[[], tf.Tensor]:
    """Returns a branch of a conditional, which must return a tensor."""

    def run() -> tf.Tensor:
        function(*args, **kwargs)
        return tf.constant(True)

    return run
