"""Access to private attributes of objects of Keras 3.

Each docstring says why the public interface is not sufficient.
"""

from typing import Any


def function_arguments(value: Any) -> dict[str, Any]:
    """Returns the arguments of the function of a loss or metric.

    The configs of some classes leave them out, such as the delta of Huber and
    the axis of CosineSimilarity.

    Args:
      value: a loss or metric of Keras 3.
    """
    return dict(getattr(value, "_fn_kwargs", {}))


def learning_rate(optimizer: Any) -> Any:
    """Returns the learning rate as it was passed: a variable or a schedule.

    `optimizer.learning_rate` is the value of the schedule at this step.
    """
    return optimizer._learning_rate


def excludes_from_weight_decay(optimizer: Any) -> bool:
    """Returns whether `exclude_from_weight_decay` has excluded variables.

    The config of an optimizer does not tell.
    """
    return any(
        getattr(optimizer, name, None)
        for name in (
            "_exclude_from_weight_decay",
            "_exclude_from_weight_decay_pattern",
        )
    )


def profiled_batches(tensor_board: Any) -> tuple[int, int]:
    """Returns the first and last batch that TensorBoard profiles; 0 for none.

    The argument `profile_batch` is not kept.
    """
    return tensor_board._start_batch, tensor_board._stop_batch
