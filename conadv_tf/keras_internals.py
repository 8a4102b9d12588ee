"""The seam to Keras and TensorFlow: every private or legacy hook we need.

Nothing else in this repository touches what they do not document. Each
function says what is needed and why the public interface does not give it, so
that another version of Keras or TensorFlow is a matter of this file alone.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
import types
from typing import Any
from typing import Optional

import tensorflow as tf

# --- Networks ---------------------------------------------------------------

# Deprecated for BatchNormalization(synchronized=True), but in saved networks.
SyncBatchNormalization = tf.keras.layers.experimental.SyncBatchNormalization
# What TensorFlow 1 saved.
BatchNormalizationV1 = tf.compat.v1.keras.layers.BatchNormalization


def flatten_layers(
    layer: tf.keras.layers.Layer, include_self: bool = True
) -> Iterator[tf.keras.layers.Layer]:
    """A layer or network and all layers inside it, however deep.

    `network.layers` stops at nested models and at what wrappers and custom
    layers hold; `submodules` promises no order, and here two copies of a
    network are walked alike.
    """
    yield from layer._flatten_layers(include_self=include_self)


def is_functional(network: tf.keras.Model) -> bool:
    """Whether Keras knows the graph of a network's calls.

    True for functional models and built Sequential ones. No class tells: a
    subclass of `tf.keras.Model` made of (inputs, outputs) is one too.
    """
    return bool(getattr(network, "_is_graph_network", False))


def fused_batch_norm(
    inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tf.Tensor:
    """The fused kernel with the batch's own statistics.

    Keras's layer calls the same kernel but reads its moving statistics too,
    and `tf.nn` has no name for it.

    Args:
      inputs: float32, bfloat16 or float16 [batch, height, width, channels].
      gamma: float32 [channels].
      beta: likewise.
      epsilon: added to the variance.
    """
    outputs, _, _ = tf.compat.v1.nn.fused_batch_norm(
        inputs, gamma, beta, epsilon=epsilon, is_training=True
    )
    return outputs


# --- Optimizers -------------------------------------------------------------


def compute_gradients(
    optimizer: tf.keras.optimizers.Optimizer,
    loss: tf.Tensor,
    variables: Sequence[tf.Variable],
    tape: tf.GradientTape,
) -> list[Optional[tf.Tensor]]:
    """The gradients of a loss, None where a variable has no part in it.

    Not of the tape itself: the optimizer may scale the loss meanwhile.

    Args:
      optimizer: Keras optimizer, legacy ones too.
      loss: scalar.
      variables: what to differentiate by.
      tape: the tape that recorded the loss.
    """
    compute = getattr(optimizer, "compute_gradients", None)
    if compute is None:  # A legacy optimizer, such as tensorflow-addons's.
        compute = optimizer._compute_gradients
    return [gradient for gradient, _ in compute(loss, variables, tape=tape)]


def create_slots(
    optimizer: tf.keras.optimizers.Optimizer, variables: Sequence[tf.Variable]
) -> None:
    """Creates an optimizer's variables now, outside any graph.

    Otherwise the first update creates them, which it cannot in a conditional.
    """
    with tf.init_scope():
        if hasattr(optimizer, "build"):
            optimizer.build(variables)
        else:
            optimizer._create_all_weights(variables)


class Optimizer(tf.keras.optimizers.Optimizer):
    """Keras's optimizer, with public names for what its subclasses need.

    Keras's own use its underscore attributes. A subclass of this one defines
    `create_state` and `update_step`.

    Args:
      learning_rate: float or Keras `LearningRateSchedule`.
      **kwargs: arguments of `tf.keras.optimizers.Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float
        | tf.keras.optimizers.schedules.LearningRateSchedule,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)

    def build(self, var_list: Sequence[tf.Variable]) -> None:
        """Creates the optimizer's variables, once."""
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        self.create_state(var_list)
        self._built = True

    def create_state(self, variables: Sequence[tf.Variable]) -> None:
        """Creates what the subclass keeps for these variables."""
        raise NotImplementedError

    def key(self, variable: tf.Variable) -> Any:
        """What a variable is known by, on all replicas alike."""
        return self._var_key(variable)

    def index(self, variable: tf.Variable) -> int:
        """The place of a variable among those of `create_state`."""
        return self._index_dict[self._var_key(variable)]

    def get_config(self) -> dict[str, Any]:
        """The arguments of Keras's optimizer, and the learning rate."""
        rate = self._serialize_hyperparameter(self._learning_rate)
        return {**super().get_config(), "learning_rate": rate}


# --- Models and their training ----------------------------------------------


class Callback(tf.keras.callbacks.Callback):
    """A callback that gets the logs as tensors.

    For one without this mark Keras copies them to NumPy after every batch,
    which waits for the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self._supports_tf_logs = True  # Keras's own says False here.


def steps_per_execution(model: tf.keras.Model) -> int:
    """The `steps_per_execution` that a model was compiled with."""
    return model._steps_per_execution.numpy().item()


def jit_compile(model: tf.keras.Model) -> bool:
    """Whether XLA compiles the steps of a compiled model."""
    return bool(model._jit_compile)


def build_metrics(
    model: tf.keras.Model, labels: tf.Tensor, logits: tf.Tensor
) -> None:
    """Creates the variables of a compiled model's metrics.

    Otherwise the first step creates them: too late to be restored before it,
    and impossible in a conditional. The batch may have any size and content.
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

    `compute_metrics` returns all results besides, of metrics too that another
    branch of a conditional counts.
    """
    model.compiled_metrics.update_state(labels, logits, sample_weight)


def begin_training_at(model: tf.keras.Model, epoch: int, batch: int) -> None:
    """Makes a `fit` begin in the middle of an epoch.

    For `on_train_begin` of a callback; `initial_epoch` knows no batches, and
    Keras's own BackupAndRestore takes this way too. Both count from 0.
    """

    def position(*args: Any, **kwargs: Any) -> tuple[int, int]:
        model._training_state = None  # The next fit begins by itself.
        return epoch, batch

    model._training_state = types.SimpleNamespace(
        maybe_load_initial_counters_from_ckpt=position
    )


def alternating_train_function(
    model: tf.keras.Model, make: Callable[[], Callable[[Any], Any]]
) -> Callable[[Any], Any]:
    """Returns a new training function of a step that alternates between some.

    After the first batch TensorBoard reads the graph from an attribute of the
    model, which each call sets. `make` makes Keras's training function.
    """
    function = make()
    traced = model.train_tf_function

    def run(iterator: Any) -> Any:
        model.train_tf_function = traced
        return function(iterator)

    return run


class PythonState(tf.train.experimental.PythonState):
    """What a checkpoint keeps as one string.

    An asynchronous checkpoint writes a copy, and warns of what makes none.
    Values that are replaced as a whole, never changed, need none.
    """

    def _copy_trackable_to_cpu(self, object_map: Any) -> None:
        object_map[self] = self


# --- Graphs and XLA ---------------------------------------------------------


def is_compiled_by_xla() -> bool:
    """Whether the code that calls this is traced for XLA.

    Some computations are fastest in one form where XLA compiles them and in
    another where TensorFlow's kernels run one by one. Both give the same
    values to float tolerance.

    True inside `tf.function(jit_compile=True)` and what TPUStrategy runs, in
    functions and conditionals nested in them too; False while nothing is
    traced. TensorFlow marks their graphs with a control flow context, by which
    its own conditionals and Keras's recurrent layers decide as well.
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


def supports_no_merge_call() -> bool:
    """Whether each replica may update variables by itself.

    If not (MirroredStrategy), updates need a `merge_call`, which cannot stand
    in a conditional of a replica.
    """
    return tf.__internal__.distribute.strategy_supports_no_merge_call()


def function_graph(graph: tf.Graph, name: str) -> tf.Graph:
    """The graph of a function that operations of a graph call by its name."""
    return graph._get_function(name).graph


# --- Other packages ---------------------------------------------------------


def disable_tfds_bucket() -> None:
    """Keeps tensorflow-datasets from asking its public bucket.

    Asking it for metadata costs seconds and a stack trace where there is no
    network; newer versions do not ask by default.
    """
    import tensorflow_datasets as tfds

    tfds.core.utils.gcs_utils._is_gcs_disabled = True
