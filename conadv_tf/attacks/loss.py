"""The attack's loss, derived from the loss that the model is compiled with."""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import contextlib
from typing import Optional
from typing import Union

import tensorflow as tf

from conadv_tf import keras_3
from conadv_tf import keras_internals
from conadv_tf.attacks import attack_ops
from conadv_tf.attacks import label_smoothing
from conadv_tf.attacks import labels as labels_lib
from conadv_tf.attacks.output_activation import output_activation
from conadv_tf.types import Forward
from conadv_tf.types import Loss

# A loss that works on one output.
SingleLoss = Union[tf.keras.losses.Loss, Callable[..., tf.Tensor]]
# A loss as `compile(loss=...)` accepts it for a network of one output.
CompiledLoss = Union[str, SingleLoss, Sequence, Mapping]
_CROSS_ENTROPY_NAMES = (
    "sparse_categorical_crossentropy",
    "categorical_crossentropy",
    "binary_crossentropy",
)


def single_loss(loss: CompiledLoss) -> SingleLoss:
    """Extracts the single loss from an argument of `compile(loss=...)`.

    Args:
      loss: name, function, Keras `Loss`, or a list or dict of one of them.

    Returns:
      A function or a Keras `Loss`.

    Raises:
      ValueError: if there is no loss, or more than one.
    """
    if isinstance(loss, dict):
        loss = list(loss.values())
    if isinstance(loss, (list, tuple)):
        if len(loss) != 1:
            raise ValueError(
                "Expected one loss for the network's one output; received "
                f"{len(loss)} losses."
            )
        loss = loss[0]
    if loss is None:
        raise ValueError(
            "Expected a loss in compile(); received None. The attack "
            "increases the training loss. Pass, for example, tf.keras.losses."
            "SparseCategoricalCrossentropy(from_logits=True)."
        )
    return tf.keras.losses.get(keras_3.adapted(loss))


def attack_loss(loss: CompiledLoss) -> Loss:
    """Returns the loss that an attack increases: summed, without smoothing.

    With the sum over the examples rather than the mean, the gradient by an
    image does not depend on the batch size. Label smoothing would pull the
    attack towards the uniform prediction; the authors' code has none either.

    Args:
      loss: name, function, Keras `Loss`, or a list or dict of one of them.

    Returns:
      Callable (labels, logits) -> float scalar.

    Raises:
      ValueError: if there is no loss, or more than one, or if its label
        smoothing cannot be removed. The result raises it for a loss that
        assigns variables in its call.
    """
    loss = single_loss(loss)
    if not isinstance(loss, tf.keras.losses.Loss):
        # `compile` wraps functions in the same class.
        loss = keras_internals.LossFunctionWrapper(loss, name="function_loss")
    label_smoothing.remove(loss)  # Raises here for a loss it cannot change.

    def summed_loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        # Copied when it is called, because its attributes may change between
        # `compile` and `fit`.
        labels = _compiled_labels(labels, logits)
        summed = label_smoothing.remove(loss, labels, logits)
        summed.reduction = tf.keras.losses.Reduction.SUM
        if tf.executing_eagerly():
            return summed(labels, logits)
        with _no_assignments(loss, logits.graph):
            return summed(labels, logits)

    return summed_loss


def loss_or_default(network: Forward, loss: Optional[Loss]) -> Loss:
    """Returns the loss, or else the cross-entropy of logits.

    On probabilities that loss has gradients that vanish or mislead, so that an
    attack with it finds too few adversarial examples.

    Args:
      network: Keras model or another callable, images to logits.
      loss: callable (labels, logits) -> float scalar, or None.

    Raises:
      ValueError: if `loss` is None and the network ends in softmax or sigmoid.
    """
    if loss is not None:
        return loss
    activation = output_activation(network)
    if activation in ("softmax", "sigmoid"):
        raise ValueError(
            f"Expected a loss with network {getattr(network, 'name', '')!r}, "
            f"which ends in {activation}; received None, which is the "
            "cross-entropy of logits. Remove the activation from the last "
            "layer, or pass a function of (labels, outputs) that returns the "
            "sum of the compiled loss over the examples."
        )
    return attack_ops.logits_cross_entropy


def _compiled_labels(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns labels as a compiled model passes them to its loss.

    A loss of labels [batch] and outputs [batch, 1] would broadcast them.
    """
    labels, logits = map(tf.convert_to_tensor, (labels, logits))
    if labels.shape.rank == 1 and logits.shape.rank == 2:
        labels = labels[:, tf.newaxis]
    if labels.dtype.is_floating:
        # Large class numbers are not exact in 16 bits.
        is_sparse = labels.shape[1:] != logits.shape[1:]
        labels = tf.cast(labels, tf.float32 if is_sparse else logits.dtype)
    return labels


@contextlib.contextmanager
def _no_assignments(
    loss: tf.keras.losses.Loss, graph: tf.Graph
) -> Iterator[None]:
    """Refuses a loss that assigns a variable in a traced call.

    Plain training calls a loss once in each step. Here the attack and each
    sub-batch call it.
    """
    before = len(graph.get_operations())
    yield
    assigned = [
        operation.name
        for operation in graph.get_operations()[before:]
        if operation.type.startswith("Assign")
    ]
    if assigned:
        raise ValueError(
            "Expected a loss that changes no variables in its call; received "
            f"{type(loss).__name__}, which does ({assigned}). The attack and "
            "each sub-batch call the loss, so it would change them several "
            "times in a step. Change them in a callback, or train with "
            "attack=None."
        )


def check_output(network: tf.keras.Model, loss: CompiledLoss) -> None:
    """Raises a ValueError if the loss does not fit the network's output.

    A softmax or sigmoid output with a loss that expects logits, or logits with
    a loss that expects probabilities, trains badly in Keras without a warning
    and gives the attack vanishing gradients.

    Args:
      network: functional network.
      loss: name, function, Keras `Loss`, or a list or dict of one of them.
    """
    from_logits = _from_logits(loss)
    activation = output_activation(network)
    if from_logits is True and activation in ("softmax", "sigmoid"):
        raise ValueError(
            f"Network {network.name!r} ends in {activation} but the loss was "
            "made with from_logits=True. Remove the activation from the last "
            "layer (recommended), or use from_logits=False."
        )
    if from_logits is False and activation == "linear":
        raise ValueError(
            f"Network {network.name!r} ends in a linear layer, so its outputs "
            "are logits, but the loss expects probabilities. Pass a loss "
            "with from_logits=True, for example tf.keras.losses."
            "SparseCategoricalCrossentropy(from_logits=True)."
        )


def check_labels(
    loss: SingleLoss, labels: tf.TensorSpec, num_outputs: int
) -> None:
    """Raises a ValueError if a loss of Keras needs labels of another format.

    Some losses, such as the mean squared error, would broadcast class ids over
    the classes and train on that.

    Args:
      loss: result of `single_loss`.
      labels: spec of a batch of labels.
      num_outputs: number of classes of the network.
    """
    name = getattr(loss, "__name__", type(loss).__name__)
    is_from_keras = getattr(tf.keras.losses, name, None) in (loss, type(loss))
    if num_outputs == 1 or not is_from_keras:
        return
    needs_ids = name.lower().startswith("sparse")
    shape = labels.shape
    if needs_ids and shape.rank == 2 and shape[-1] == num_outputs:
        raise ValueError(
            f"Expected class ids of shape [batch] with the loss {name}; "
            f"received labels of shape {shape}, one-hot rows. Use "
            "CategoricalCrossentropy, or pass tf.argmax(labels, axis=-1)."
        )
    if not needs_ids and labels_lib.are_ids(labels):
        raise ValueError(
            f"Expected one-hot rows of shape [batch, {num_outputs}] with the "
            f"loss {name}; received labels of shape {shape}, class ids. Use "
            "SparseCategoricalCrossentropy, or pass "
            f"tf.one_hot(labels, {num_outputs})."
        )


def check_mean(loss: CompiledLoss, step: str, reason: str) -> None:
    """Raises a ValueError for a Keras loss that is no mean over the batch.

    Args:
      loss: result of `single_loss`.
      step: the step that needs a mean, as users write it.
      reason: why it does.
    """
    kinds = tf.keras.losses.Reduction
    reduction = getattr(loss, "reduction", kinds.AUTO)
    if reduction not in (kinds.AUTO, kinds.SUM_OVER_BATCH_SIZE):
        raise ValueError(
            "Expected a loss with the default reduction, the mean over a "
            f"batch, with step={step}, {reason}; received "
            f"reduction={reduction!r}. Remove the argument `reduction`."
        )


def is_binary(network: tf.keras.Model, loss: CompiledLoss) -> bool:
    """Whether each output of a network is a binary classifier.

    If so, labels of several outputs may have any number of ones.

    Args:
      network: functional network.
      loss: result of `single_loss`.
    """
    losses = tf.keras.losses
    if isinstance(
        loss, (losses.BinaryCrossentropy, losses.BinaryFocalCrossentropy)
    ) or loss in (losses.binary_crossentropy, losses.binary_focal_crossentropy):
        return True
    return output_activation(network) == "sigmoid"


def decision_boundary(
    network: tf.keras.Model, loss: Optional[CompiledLoss] = None
) -> float:
    """Returns the output above which a binary classifier predicts class 1.

    Args:
      network: functional network.
      loss: name, function, Keras `Loss`, or a list or dict of one of them; None
        if it is unknown.

    Returns:
      0.5 for probabilities, 0.0 for logits.
    """
    is_probability = output_activation(network) == "sigmoid" or (
        loss is not None and _from_logits(loss) is False
    )
    return 0.5 if is_probability else 0.0


def _from_logits(loss: CompiledLoss) -> Optional[bool]:
    """The loss's `from_logits`, or None if it has no such argument."""
    loss = single_loss(loss)
    if isinstance(loss, tf.keras.losses.Loss):
        return label_smoothing.config(loss).get("from_logits")
    # A function from keras.losses, used with its default arguments.
    functions = [tf.keras.losses.get(name) for name in _CROSS_ENTROPY_NAMES]
    return False if loss in functions else None
