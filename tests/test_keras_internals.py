"""Access to private features of Keras works as its users expect."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import keras_internals
from conadv_tf import keras_optimizers
from conadv_tf import xla_internals
from conadv_tf.batch_norm import routing
from tests import networks


def test_flatten_layers_finds_all_layers_in_the_same_order():
    def network():
        inner = networks.convolutional()
        wrapped = tf.keras.layers.TimeDistributed(tf.keras.layers.Dense(2))
        inputs = tf.keras.Input((6, 6, 1))
        outputs = wrapped(inner(inputs)[:, tf.newaxis])
        return tf.keras.Model(inputs, outputs)

    first, second = (
        [type(each) for each in keras_internals.flatten_layers(network())]
        for _ in "ab"
    )
    assert first == second
    assert {tf.keras.layers.Conv2D, tf.keras.layers.Dense} < set(first)
    layer = tf.keras.layers.Dense(2)
    assert list(keras_internals.flatten_layers(layer)) == [layer]
    assert not [*keras_internals.flatten_layers(layer, include_self=False)]


class Doubling(tf.keras.layers.Layer):
    """A layer of a user, which needs AutoGraph."""

    def call(self, inputs):
        if tf.reduce_sum(inputs) > 0:
            inputs = 2 * inputs
        return inputs


# The conversion of the others took a fifth of the time until the first step.
def test_autograph_converts_the_layers_of_users_only(monkeypatch):
    callers = set()

    def current_route():
        callers.add(inspect.stack()[1].filename)
        return routing.Route()

    monkeypatch.setattr(routing, "current_route", current_route)
    batch_norm = tf.keras.layers.BatchNormalization(epsilon=0.0)
    layers = [tf.keras.Input((2,)), Doubling(), batch_norm]
    model = ca.ConAdvModel(tf.keras.Sequential(layers), ca.PGD(0.1))
    outputs = model.predict(tf.constant([[1.0, 2.0]]), verbose=0)
    np.testing.assert_equal(outputs, [[2, 4]])
    assert callers == {inspect.getfile(ca.SplitBatchNormalization)}


# --- Optimizers -------------------------------------------------------------


def loss_scaler():
    return tf.keras.mixed_precision.LossScaleOptimizer(
        tf.keras.optimizers.SGD(), dynamic=False, initial_scale=1024
    )


@pytest.mark.parametrize(
    "make, expected",
    [
        (tf.keras.optimizers.SGD, 0.0),
        (tf.keras.optimizers.legacy.SGD, 0.0),
        (loss_scaler, 1e-8),
    ],
)
def test_the_optimizer_scales_the_loss_that_it_differentiates(make, expected):
    used, unused = tf.Variable(1.0), tf.Variable(1.0)
    with tf.GradientTape() as tape:
        # The gradient passes through float16, for which it is too small.
        loss = tf.cast(tf.cast(used, tf.float16), tf.float32) * 1e-8
    gradient, none = keras_optimizers.compute_gradients(
        make(), loss, [used, unused], tape
    )
    np.testing.assert_allclose(gradient, expected, rtol=1e-2)
    assert none is None


@pytest.mark.parametrize("legacy", [False, True])
def test_slots_are_created_before_an_update_and_outside_of_its_graph(legacy):
    optimizers = tf.keras.optimizers
    optimizer = (optimizers.legacy if legacy else optimizers).SGD(
        0.5, momentum=0.9
    )
    weight = tf.Variable([1.0, 2.0])

    @tf.function
    def step():
        keras_optimizers.create_slots(optimizer, [weight])

    step()
    shapes = [variable.shape for variable in optimizer.variables()]
    assert shapes.count(weight.shape) == 1


# --- Models -----------------------------------------------------------------


@pytest.mark.parametrize("steps, jit_compile", [(1, False), (3, True)])
def test_options_of_compile(steps, jit_compile):
    model = networks.convolutional()
    options = {"steps_per_execution": steps, "jit_compile": jit_compile}
    model.compile("sgd", networks.LOSS, **options)
    assert keras_internals.steps_per_execution(model) == steps
    assert keras_internals.jit_compile(model) is jit_compile


def test_metrics_exist_before_the_first_step():
    model = networks.convolutional()
    model.compile("sgd", networks.LOSS, weighted_metrics=["accuracy"])
    logits, labels = tf.eye(3), tf.constant([0, 1, 1])
    assert not model.metrics
    keras_internals.build_metrics(model, labels, logits)
    built = model.metrics
    assert [metric.name for metric in built] == ["loss", "accuracy"]
    keras_internals.build_metrics(model, labels, logits)
    assert [id(each) for each in model.metrics] == [id(each) for each in built]
    keras_internals.update_compiled_metrics(
        model, labels, logits, tf.constant([1.0, 1.0, 2.0])
    )
    assert model.get_metrics_result()["accuracy"].numpy() == 0.5


class Recorder(keras_internals.Callback):
    def __init__(self, start=None):
        super().__init__()
        self.start = start
        self.batches = []
        self.types = set()

    def on_train_begin(self, logs=None):
        if self.start:
            keras_internals.begin_training_at(self.model, *self.start)
            self.start = None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append((self.epoch, batch))
        self.types |= {type(value) for value in logs.values()}


def test_one_fit_starts_in_the_middle_and_logs_stay_on_the_device():
    model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse")
    recorder = Recorder(start=(1, 2))
    arguments = dict(batch_size=1, epochs=3, verbose=0, callbacks=[recorder])
    data = np.zeros([3, 2]), np.zeros([3, 1])
    model.fit(*data, **arguments)
    assert recorder.batches == [(1, 2), (2, 0), (2, 1), (2, 2)]
    assert all(issubclass(each, tf.Tensor) for each in recorder.types)
    recorder.batches.clear()
    model.fit(*data, **arguments)
    assert len(recorder.batches) == 9


def test_python_state_is_saved_in_the_background_without_a_warning(
    tmp_path, caplog
):
    class State(keras_internals.PythonState):
        value = "saved"

        def serialize(self):
            return self.value

        def deserialize(self, string):
            self.value = string.decode()

    state = State()
    checkpoint = tf.train.Checkpoint(state=state)
    background = tf.train.CheckpointOptions(
        experimental_enable_async_checkpoint=True
    )
    path = checkpoint.save(str(tmp_path / "state"), background)
    checkpoint.sync()
    state.value = "later"
    checkpoint.restore(path)
    assert state.value == "saved"
    assert "skipped" not in caplog.text


# --- Graphs and XLA ---------------------------------------------------------


def test_is_compiled_by_xla():
    seen = {}

    def note(name):
        seen[name] = keras_internals.is_compiled_by_xla()

    @tf.function
    def inner():
        note("inner")
        return tf.constant(0.0)

    @tf.function(jit_compile=True)
    def compiled(x):
        note("compiled")
        inner()
        return tf.cond(x > 0, lambda: x, lambda: (note("branch"), x)[1])

    @tf.function
    def plain(x):
        note("plain")
        return x

    note("eager")
    plain(tf.constant(1.0))
    compiled(tf.constant(1.0))
    assert seen == {
        "eager": False,
        "plain": False,
        "compiled": True,
        "inner": True,
        "branch": True,
    }


@pytest.mark.parametrize("jit_compile", [False, True])
def test_is_compiled_in_a_step(jit_compile):
    seen = []

    class Spy(tf.keras.layers.Layer):
        def call(self, inputs):
            seen.append(keras_internals.is_compiled_by_xla())
            return inputs

        def get_config(self):
            return super().get_config()

    inputs = tf.keras.Input((8, 8, 3))
    x = tf.keras.layers.Flatten()(Spy()(inputs))
    network = tf.keras.Model(inputs, tf.keras.layers.Dense(10)(x))
    model = ca.ConAdvModel(network, ca.PGD(0.1))
    model.compile("sgd", networks.LOSS, jit_compile=jit_compile)
    images, labels = tf.zeros([4, 8, 8, 3]), tf.zeros([4], tf.int64)
    seen.clear()
    model.fit(images, labels, batch_size=2, verbose=0)
    assert seen and set(seen) == {jit_compile}


def test_replicas_of_a_mirrored_strategy_need_a_merge_call():
    def ask():
        seen.append(keras_internals.supports_no_merge_call())

    seen = []
    ask()
    tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).run(ask)
    assert seen == [True, False, False]


def test_the_graph_of_a_branch():
    @tf.function
    def function(x):
        return tf.cond(x > 0, lambda: tf.sin(x), lambda: x)

    graph = function.get_concrete_function(tf.TensorSpec([])).graph
    (branch,) = (
        keras_internals.function_graph(
            graph, operation.get_attr("then_branch").name
        )
        for operation in graph.get_operations()
        if operation.type in ("If", "StatelessIf")
    )
    assert "Sin" in {operation.type for operation in branch.get_operations()}


def test_the_module_that_xla_serialized():
    double = tf.function(lambda x: x + x, jit_compile=True)
    proto = xla_internals.optimized_hlo(double, tf.TensorSpec([2]))
    shape = proto.hlo_module.host_program_shape.result
    assert shape.element_type == xla_internals.xla_types().F32
    assert list(shape.dimensions) == [2]
    assert proto.buffer_assignment.buffer_allocations


def test_tensorflow_datasets_does_not_ask_its_bucket(monkeypatch):
    from tensorflow_datasets.core.utils import gcs_utils

    asked = []
    monkeypatch.setattr(gcs_utils, "_is_gcs_disabled", False)
    monkeypatch.setattr(gcs_utils, "exists", asked.append)
    gcs_utils.is_dataset_on_gcs("mnist")
    assert len(asked) == 1
    keras_internals.disable_tfds_bucket()
    gcs_utils.is_dataset_on_gcs("mnist")
    assert len(asked) == 1
