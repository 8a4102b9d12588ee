"""Remembers which optimizer of tf.keras stands for one of Keras 3.

As in Keras, a second `compile` with an optimizer continues with its state.
"""

from collections.abc import Callable
from typing import Any
import warnings
import weakref

from conadv_tf.keras_3.errors import refusal
from conadv_tf.types import Config

# {optimizer of Keras 3: (optimizer of tf.keras, config when it was adapted)}.
_ADAPTED: weakref.WeakKeyDictionary[Any, tuple[Any, Config]] = (
    weakref.WeakKeyDictionary()
)
_RATE = "learning_rate"


def adapted_once(optimizer: Any, adapt: Callable[[Any], Any]) -> Any:
    """Returns the optimizer of tf.keras for one of Keras 3, always the same.

    If only the learning rate has changed, it is assigned.

    Args:
      optimizer: optimizer of Keras 3.
      adapt: function that creates the optimizer of tf.keras.

    Raises:
      ValueError: if another setting has changed since it was created.
    """
    if optimizer not in _ADAPTED:
        adapted = adapt(optimizer)
        _ADAPTED[optimizer] = adapted, optimizer.get_config()
        return adapted
    adapted, old = _ADAPTED[optimizer]
    new = optimizer.get_config()
    changed = _changes(old, new)
    if changed == [_RATE] and isinstance(new[_RATE], float):
        setattr(adapted, _RATE, new[_RATE])
        _ADAPTED[optimizer] = adapted, new
    elif changed:
        name = type(optimizer).__name__
        raise refusal(
            "an optimizer that has not changed since the last `compile`",
            f"{name} of Keras 3 with another {changed[0]}",
            f"Write a new optimizer, tf.keras.optimizers.{name}(...)",
        )
    return adapted


def warn_of_changes(optimizer: Any) -> None:
    """Warns if the optimizer of Keras 3 that one stands for has changed.

    Args:
      optimizer: optimizer of the model, of tf.keras.
    """
    inner = getattr(optimizer, "inner_optimizer", None)
    for given, (adapted, old) in _ADAPTED.items():
        changed = _changes(old, given.get_config())
        if changed and (adapted is optimizer or adapted is inner):
            name = type(given).__name__
            warnings.warn(
                f"{name} of Keras 3 has another {changed[0]} since `compile`. "
                "The model trains with an optimizer of tf.keras in place of "
                f"it. Write model.optimizer.{changed[0]} = ..., or compile "
                "again.",
                stacklevel=4,
            )


def _changes(old: Config, new: Config) -> list[str]:
    # The inner optimizer of a LossScaleOptimizer is remembered too.
    names = [name for name in new if name != "inner_optimizer"]
    return [name for name in names if new[name] != old.get(name)]
