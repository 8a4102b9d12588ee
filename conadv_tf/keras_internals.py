"""Access to private and legacy features of Keras and TensorFlow.

Only this module, `keras_graph`, `keras_layers`, `keras_optimizers`,
`keras_outputs` and `xla_internals` use features that are not documented. Each
docstring says why the public interface is not sufficient, so that only these
files have to change for another version of Keras or TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
import types
from typing import Any
from typing import Optional
from typing import TypeVar

import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2

_Function = TypeVar("_Function", bound=Callable[..., Any])

# --- Networks ---------------------------------------------------------------

# Replaced by BatchNormalization(synchronized=True), but saved networks use it.
SyncBatchNormalization = tf.keras.layers.experimental.SyncBatchNormalization
# Networks saved by TensorFlow 1 use it.
BatchNormalizationV1 = tf.compat.v1.keras.layers.BatchNormalization

# Normalization, Rescaling and similar; newer versions have no public name.
PreprocessingLayer = (
    tf.keras.layers.experimental.preprocessing.PreprocessingLayer
)


def flatten_layers(
    layer: tf.keras.layers.Layer, include_self: bool = True
) -> Iterator[tf.keras.layers.Layer]:
    """Yields a layer or network and all layers inside it, at any depth.

    The order is the same for two copies of a network. `network.layers` does not
    enter nested models, wrappers and custom layers, and the order of
    `submodules` is not specified.
    """
    yield from layer._flatten_layers(include_self=include_self)


def fused_batch_norm(
    inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tf.Tensor:
    """Normalizes by the statistics of the batch, with the fused kernel.

    Keras's layer calls the same kernel but also reads its moving statistics.
    `tf.nn` has no public name for the kernel.

    Args:
      inputs: float32, bfloat16 or float16 [batch, height, width, channels].
      gamma: float32 [channels].
      beta: float32 [channels].
      epsilon: float, added to the variance.
    """
    outputs, _, _ = tf.compat.v1.nn.fused_batch_norm(
        inputs, gamma, beta, epsilon=epsilon, is_training=True
    )
    return outputs


# --- Models and their training ----------------------------------------------

# The class in which `compile` wraps functions. It changes the rank of labels or
# outputs where they differ, which the functions themselves do not.
LossFunctionWrapper = tf.keras.__internal__.losses.LossFunctionWrapper


class Callback(tf.keras.callbacks.Callback):
    """A callback that receives the logs as tensors.

    For other callbacks Keras converts logs to NumPy after each batch, which
    waits for the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self._supports_tf_logs = True  # False by default.


def steps_per_execution(model: tf.keras.Model) -> int:
    """Returns the `steps_per_execution` that a model was compiled with."""
    return model._steps_per_execution.numpy().item()


def jit_compile(model: tf.keras.Model) -> bool:
    """Returns whether XLA compiles the steps of a compiled model."""
    return bool(model._jit_compile)


def can_be_copied(model: tf.keras.Model) -> bool:
    """Returns whether TensorFlow copies all variables before it writes them.

    An asynchronous checkpoint would have later values of the variables that
    mixed precision casts, and of a `LossScaleOptimizer`.

    Args:
      model: compiled model.
    """
    scaled = tf.keras.mixed_precision.LossScaleOptimizer
    return not isinstance(model.optimizer, scaled) and all(
        layer.compute_dtype == layer.variable_dtype
        for layer in flatten_layers(model)
    )


def build_metrics(
    model: tf.keras.Model, labels: tf.Tensor, logits: tf.Tensor
) -> None:
    """Creates the variables of a compiled model's metrics.

    Otherwise the first step creates them, which is too late to restore them
    before it, and fails in a conditional.

    Args:
      model: a compiled model.
      labels: labels of a batch of any size and content.
      logits: logits of that batch.
    """
    if not model.compiled_loss.built:
        model.compiled_loss.build(logits)
    if not model.compiled_metrics.built:
        model.compiled_metrics.build(logits, labels)


def update_compiled_metrics(
    model: tf.keras.Model,
    labels: tf.Tensor,
    logits: tf.Tensor,
    sample_weight: Optional[tf.Tensor] = None,
) -> None:
    """Adds a batch to the metrics that a model was compiled with.

    `compute_metrics` would also return the results of all metrics, including
    metrics that another branch of a conditional updates.
    """
    model.compiled_metrics.update_state(labels, logits, sample_weight)


def begin_training_at(model: tf.keras.Model, epoch: int, batch: int) -> None:
    """Makes `fit` start in the middle of an epoch.

    Call it in `on_train_begin` of a callback. `initial_epoch` cannot skip
    batches; Keras's BackupAndRestore uses the same private attribute.

    Args:
      model: the model in training.
      epoch: first epoch, from 0.
      batch: first batch of that epoch, from 0.
    """

    def position(*args: Any, **kwargs: Any) -> tuple[int, int]:
        model._training_state = None  # The next fit starts normally.
        return epoch, batch

    model._training_state = types.SimpleNamespace(
        maybe_load_initial_counters_from_ckpt=position
    )


class PythonState(tf.train.experimental.PythonState):
    """State that a checkpoint saves as one string.

    An asynchronous checkpoint copies state, and warns about state that it
    cannot copy. A value that is only replaced, never modified, needs no copy.
    """

    def _copy_trackable_to_cpu(self, object_map: Any) -> None:
        object_map[self] = self


# --- Graphs and XLA ---------------------------------------------------------


def is_compiled_by_xla() -> bool:
    """Returns whether the calling code is traced for XLA.

    Some computations need one form to be fast under XLA and another one for
    TensorFlow's separate kernels. Both give the same values up to float
    tolerance.

    It is true inside of `tf.function(jit_compile=True)` and functions run by
    TPUStrategy, including nested functions and conditionals, and false in eager
    code. TensorFlow marks these graphs with a control flow context, which its
    own conditionals and Keras's recurrent layers use in the same way.
    """
    graph = tf.compat.v1.get_default_graph()
    while graph is not None:
        context = graph._get_control_flow_context()
        while context is not None:
            if context.IsXLAContext():
                return True
            context = context.outer_context
        graph = getattr(graph, "outer_graph", None)
    return False


def without_autograph(function: _Function) -> _Function:
    """Marks a function or method whose source AutoGraph need not convert.

    Keras converts the `call` of every layer outside of its package, which takes
    longer than the layer's operations. `tf.autograph.experimental.
    do_not_convert` would also turn the conversion off for the layers of users
    that the function calls, and would hide the arguments of `call` from Keras.
    """
    function.autograph_info__ = {}  # type: ignore[attr-defined]
    return function


def supports_no_merge_call() -> bool:
    """Returns whether a replica may update variables without a `merge_call`.

    If not (MirroredStrategy), updates need a `merge_call`, which is not allowed
    in a conditional of a replica.
    """
    return tf.__internal__.distribute.strategy_supports_no_merge_call()


def keep_conditional(result: tf.Tensor) -> None:
    """Makes TensorFlow execute a `tf.cond` as one operation.

    It would merge the branches into the graph, with three operations for each
    tensor and variable that they use. These take much of the time until the
    first step is done. All variables must be on one device.

    Args:
      result: the tensor that `tf.cond` returned.
    """
    if hasattr(result, "graph"):  # Not in eager mode.
        conditional = result.op.inputs[0].op
        conditional._set_attr(
            "_lower_using_switch_merge", attr_value_pb2.AttrValue(b=False)
        )


def function_graph(graph: tf.Graph, name: str) -> tf.Graph:
    """Returns the graph of a function that another graph calls by name."""
    return graph._get_function(name).graph


# --- Other packages ---------------------------------------------------------


def disable_tfds_bucket() -> None:
    """Prevents tensorflow-datasets from reading its public bucket.

    Without a network, the request for metadata takes seconds and logs a stack
    trace. Newer versions do not make it by default.
    """
    import tensorflow_datasets as tfds

    tfds.core.utils.gcs_utils._is_gcs_disabled = True
