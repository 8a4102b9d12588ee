"""The logits and the mask that Keras finds on the outputs of a network.

A cross-entropy of Keras that expects probabilities does not use them where a
softmax or a sigmoid computed them. It finds the logits and computes the loss
from the logits, because probabilities below 1e-7 are clipped, which leaves no
gradient. Masks are found in the same way. An operation on the outputs, such as
`tf.split` or `tf.cast`, hides both from Keras. The functions of this module
keep them, so that training, attack and evaluation have the same loss.
"""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any
from typing import Optional
from typing import Union

import tensorflow as tf

# Keras finds the logits of outputs by the attribute, which its activations set,
# or else by the type of the operation, where there is a graph.
_LOGITS = "_keras_logits"
_MASK = "_keras_mask"
_ACTIVATIONS = {"Softmax": tf.nn.softmax, "Sigmoid": tf.sigmoid}


def loss_inputs(outputs: tf.Tensor) -> list[tf.Tensor]:
    """Returns the tensors from which a Keras loss of the outputs is computed.

    The derivative of a loss by the outputs is the derivative by all of these.

    Args:
      outputs: float [batch, ...], the outputs of a network.

    Returns:
      The outputs, the logits, or both; tensors of the shape of the outputs.
    """
    if _activation(outputs) is not None:
        return [outputs.op.inputs[0]]
    logits = getattr(outputs, _LOGITS, None)
    return [outputs] if logits is None else [outputs, logits]


def with_loss_inputs(
    outputs: tf.Tensor, replaced: Sequence[tf.Tensor]
) -> tf.Tensor:
    """Returns outputs in which Keras finds other tensors.

    Args:
      outputs: float [batch, ...], the outputs of a network.
      replaced: new tensors in place of `loss_inputs(outputs)`. They must be
        results of operations, because Keras's attributes are set on them.

    Returns:
      Outputs without a mask.
    """
    activation = _activation(outputs)
    if activation is not None:
        return activation(replaced[0])
    result, *logits = replaced
    if logits:
        setattr(result, _LOGITS, logits[0])
    return result


def as_float32(outputs: tf.Tensor) -> tf.Tensor:
    """Casts outputs to float32."""
    if outputs.dtype == tf.float32:
        return outputs
    inputs = [tf.cast(each, tf.float32) for each in loss_inputs(outputs)]
    result = with_loss_inputs(outputs, inputs)
    setattr(result, _MASK, getattr(outputs, _MASK, None))
    return result


def split(
    outputs: tf.Tensor, sizes: Union[int, Sequence[Any]]
) -> list[tf.Tensor]:
    """Splits outputs along the batch.

    Args:
      outputs: float [batch, ...], the outputs of a network.
      sizes: as for `tf.split`: the number of equal parts, or their sizes.
    """
    inputs = [tf.split(each, sizes) for each in loss_inputs(outputs)]
    parts = [with_loss_inputs(outputs, each) for each in zip(*inputs)]
    mask = getattr(outputs, _MASK, None)
    if mask is not None:
        for part, part_of_mask in zip(parts, tf.split(mask, sizes)):
            setattr(part, _MASK, part_of_mask)
    return parts


def _activation(
    outputs: tf.Tensor,
) -> Optional[Callable[[tf.Tensor], tf.Tensor]]:
    """Returns the activation by whose operation Keras finds the logits."""
    if tf.is_symbolic_tensor(outputs) and not hasattr(outputs, _LOGITS):
        return _ACTIVATIONS.get(outputs.op.type)
    return None
