"""Losses without their label smoothing, for the attack."""

import copy
from typing import Any
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf.types import Config

_KEY = "label_smoothing"
_KERAS = ("keras", "tf_keras")


def remove(
    loss: tf.keras.losses.Loss,
    labels: Optional[tf.Tensor] = None,
    outputs: Optional[tf.Tensor] = None,
) -> tf.keras.losses.Loss:
    """Returns a copy of a loss without label smoothing.

    The attributes `label_smoothing` of the copy are 0. Where the class is not
    Keras's, the values of an example show whether that removed the smoothing.
    If not, the loss is created again from its config, provided that the config
    is complete.

    Args:
      loss: Keras loss.
      labels: labels of the batch, of which only shape and dtype are used; None
        to refuse only what can be refused without them.
      outputs: outputs of the network, used in the same way.

    Raises:
      ValueError: if the smoothing cannot be removed.
    """
    result, removed = _copy(loss)
    smoothing = config(loss).get(_KEY, 0.0) or removed
    if not smoothing or type(loss).__module__.split(".")[0] in _KERAS:
        return result
    created = None
    if not any(isinstance(each, tf.Variable) for each in vars(loss).values()):
        # The created loss would have other variables.
        created = _from_config(loss, {_KEY: 0.0})
    if labels is None or outputs is None:
        if removed or created is not None:
            return result
    else:
        before = _value(loss, labels, outputs)
        after = _value(result, labels, outputs)
        if before is None or after is None:
            if removed:
                return result
        elif created is not None and before == _value(
            _from_config(loss, {}), labels, outputs
        ):  # The config is complete.
            is_same = after == _value(created, labels, outputs) != before
            return result if is_same else created
        elif before != after:
            return result
    raise ValueError(
        "Expected a loss without label smoothing, or one whose smoothing can "
        "be removed for the attack; received "
        f"{type(loss).__name__} with label_smoothing={smoothing}. Setting its "
        f"attribute {_KEY!r} to 0 does not remove it, and its config does not "
        "create an equal loss. Pass label_smoothing=0, or let `get_config` "
        "return the arguments of the constructor."
    )


def config(loss: tf.keras.losses.Loss) -> Config:
    """Returns the config of a loss; {} if it has none."""
    try:
        return loss.get_config()
    except Exception:  # Keras trains with a loss that has no valid config.
        return {}


def _copy(loss: tf.keras.losses.Loss) -> tuple[tf.keras.losses.Loss, Any]:
    """Copies a loss, and the losses it holds, with `label_smoothing` 0.

    The constructor is not called: it may take other arguments than the config
    has.

    Returns:
      The copy and the smoothing that was removed, or 0.
    """
    result, removed = copy.copy(loss), 0.0
    for name, value in vars(loss).items():
        if isinstance(value, tf.keras.losses.Loss):
            inner, smoothing = _copy(value)
            setattr(result, name, inner)
        elif name.lstrip("_") == _KEY:
            setattr(result, name, 0.0)
            smoothing = value
        elif isinstance(value, dict) and _KEY in value:
            # Keras's losses keep the arguments of their function in a dict.
            setattr(result, name, {**value, _KEY: 0.0})
            smoothing = value[_KEY]
        else:
            continue
        removed = removed or smoothing
    return result, removed


def _from_config(
    loss: tf.keras.losses.Loss, changes: Config
) -> Optional[tf.keras.losses.Loss]:
    """Creates a loss from its changed config, or None if that fails."""
    arguments = config(loss)
    if _KEY not in arguments:
        return None
    try:
        with tf.init_scope():
            return type(loss).from_config({**arguments, **changes})
    except Exception:  # The constructor takes other arguments.
        return None


def _value(
    loss: Optional[tf.keras.losses.Loss], labels: tf.Tensor, outputs: tf.Tensor
) -> Optional[float]:
    """Returns the sum of a loss over an example, or None if that fails.

    All labels are class 0, and the outputs are valid probabilities and logits.
    """
    if loss is None:
        return None

    def call() -> tf.Tensor:
        summed = copy.copy(loss)
        summed.reduction = tf.keras.losses.Reduction.SUM
        return summed(
            tf.cast(targets, labels.dtype),
            tf.cast(tf.broadcast_to(probabilities, shape), outputs.dtype),
        )

    try:
        shape = [size or 2 for size in outputs.shape]
        probabilities = 1 / (1 + np.exp(-np.linspace(-1, 1, shape[-1])))
        targets = np.zeros([size or 2 for size in labels.shape])
        if shape[-1] > 1:
            probabilities /= probabilities.sum()
            if targets.shape == tuple(shape):
                targets[..., 0] = 1
        with tf.init_scope():
            function = tf.function(call).get_concrete_function()
            types = [each.type for each in function.graph.get_operations()]
            if any(each.startswith("Assign") for each in types):
                return None
            value = function().numpy().item()
    except Exception:  # The loss does not take such labels.
        return None
    return value if np.isfinite(value) else None
