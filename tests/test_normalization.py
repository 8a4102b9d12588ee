"""Split batch norm against Keras's, its routing, and its write-free path."""

import json
import threading

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.batch_norm import routing
from conadv_tf.batch_norm.split import normalize_with_batch_statistics

SHAPES = [(8, 3), (8, 4, 4, 3)]
NAMES = {
    1: ["main"],
    2: ["main", "auxiliary"],
    3: ["main", "augmented", "auxiliary"],
}


def _inputs(shape, seed=0):
    rng = np.random.default_rng(seed)
    return tf.constant(rng.normal(1.0, 2.0, size=shape), tf.float32)


def _randomize(layer, seed=0):
    """Gives every weight of a layer a value of its own, all positive."""
    rng = np.random.default_rng(seed)
    layer.set_weights(
        [rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()]
    )


def _split_layer(shape, branches=2, **arguments):
    layer = ca.SplitBatchNormalization(branches, **arguments)
    layer.build(shape)
    for index, branch in enumerate(layer.branch_layers):
        _randomize(branch, seed=index)
    return layer


def _loss(outputs):
    """Not invariant under normalization; the same bits for any batch."""
    return tf.reduce_sum(outputs * outputs * outputs)


def _train(layer, inputs, rate=0.01):
    """One step of SGD: outputs and gradients of inputs and weights."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True)
        loss = _loss(outputs)
    weights = layer.trainable_weights
    gradients = tape.gradient(
        loss, [inputs, *weights], unconnected_gradients="zero"
    )
    for weight, gradient in zip(weights, gradients[1:]):
        weight.assign_sub(rate * gradient)
    return outputs, gradients


def _equal(ours, theirs):
    for a, b in zip(tf.nest.flatten(ours), tf.nest.flatten(theirs)):
        np.testing.assert_array_equal(a, b)


# --- Values -----------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("arguments", [{}, {"scale": False, "center": False}])
def test_one_branch_is_keras_batch_norm(shape, arguments):
    arguments = {"momentum": 0.8, "epsilon": 1e-4, **arguments}
    ours = ca.SplitBatchNormalization(1, **arguments)
    theirs = tf.keras.layers.BatchNormalization(**arguments)
    for step in range(4):
        inputs = _inputs(shape, step)
        _equal(_train(ours, inputs), _train(theirs, inputs))
        _equal(ours.get_weights(), theirs.get_weights())
    _equal(ours(inputs, training=False), theirs(inputs, training=False))
    _equal(ours(inputs), theirs(inputs))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("branches", [2, 3])
def test_split_equals_a_layer_for_each_part(shape, branches):
    shape = (4 * branches, *shape[1:])
    ours = ca.SplitBatchNormalization(branches, momentum=0.8)
    theirs = [
        tf.keras.layers.BatchNormalization(momentum=0.8)
        for _ in range(branches)
    ]
    for step in range(3):
        inputs = _inputs(shape, step)
        with ca.batch_norm_branch("split"):
            outputs, (input_gradient, *_) = _train(ours, inputs)
        parts = [
            _train(layer, part)
            for layer, part in zip(theirs, tf.split(inputs, branches))
        ]
        _equal(outputs, tf.concat([part[0] for part in parts], 0))
        _equal(input_gradient, tf.concat([part[1][0] for part in parts], 0))
        for branch, layer in zip(ours.branch_layers, theirs):
            _equal(branch.get_weights(), layer.get_weights())
    with ca.batch_norm_branch("split"):
        outputs = ours(inputs, training=False)
    parts = zip(theirs, tf.split(inputs, branches))
    _equal(outputs, tf.concat([f(x, training=False) for f, x in parts], 0))


# --- Routing ----------------------------------------------------------------


def _used_branch(layer, route, training=False):
    """Index of the branch that a route leads to, read off its beta."""
    for index, branch in enumerate(layer.branch_layers):
        branch.beta.assign(tf.fill(branch.beta.shape, 10.0 * index))
        branch.moving_mean.assign(tf.zeros_like(branch.moving_mean))
    inputs = tf.constant([[-1.0, 1.0], [1.0, -1.0]])
    with ca.batch_norm_branch(route):
        outputs = layer(inputs, training=training)
    return int(np.round(outputs.numpy().mean() / 10))


@pytest.mark.parametrize(
    "branches, route, expected",
    [
        (1, "main", 0),
        (1, "auxiliary", 0),
        (1, "split", 0),
        (1, 0, 0),
        (2, "main", 0),
        (2, "auxiliary", 1),
        (2, 0, 0),
        (2, 1, 1),
        (3, "main", 0),
        (3, "augmented", 1),
        (3, "auxiliary", 2),
        (3, 1, 1),
        (3, 2, 2),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_route_leads_to_one_branch(branches, route, expected, training):
    layer = _split_layer((None, 2), branches)
    assert [b.name for b in layer.branch_layers] == NAMES[branches]
    assert _used_branch(layer, route, training) == expected


def test_only_the_routed_branch_learns_statistics():
    layer = _split_layer((None, 3), 3)
    before = [branch.get_weights() for branch in layer.branch_layers]
    with ca.batch_norm_branch("augmented"):
        layer(_inputs((8, 3)), training=True)
    after = [branch.get_weights() for branch in layer.branch_layers]
    _equal(after[0], before[0])
    _equal(after[2], before[2])
    assert (after[1][2] != before[1][2]).all()


def test_contexts_nest_and_end_with_an_exception():
    assert routing.current_route() == routing.Route("main", True)
    with ca.batch_norm_branch("auxiliary", update_statistics=False):
        with ca.batch_norm_branch(1):
            assert routing.current_route() == routing.Route(1, True)
        assert routing.current_route() == routing.Route("auxiliary", False)
        with pytest.raises(KeyError):
            with ca.batch_norm_branch("split"):
                raise KeyError
        assert routing.current_route() == routing.Route("auxiliary", False)
    assert routing.current_route() == routing.Route("main", True)


# MirroredStrategy traces each replica in a thread of its own.
def test_each_thread_has_its_own_route():
    layer = _split_layer((None, 2), 2)
    barrier = threading.Barrier(2, timeout=30)
    inputs = tf.ones([1, 2])
    outputs = {}

    def run(route):
        with ca.batch_norm_branch(route):
            barrier.wait()  # Both are inside their contexts now.
            outputs[route] = layer(inputs, training=False).numpy()

    with ca.batch_norm_branch("auxiliary"):
        threads = [threading.Thread(target=run, args=(i,)) for i in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for index, branch in enumerate(layer.branch_layers):
        _equal(outputs[index], branch(inputs, training=False))
    assert (outputs[0] != outputs[1]).all()


# --- Without updates of statistics ------------------------------------------


def _no_update(layer, inputs, branch="auxiliary"):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        with ca.batch_norm_branch(branch, update_statistics=False):
            outputs = layer(inputs, training=True)
        loss = _loss(outputs)
    return outputs, tape.gradient(loss, inputs)


# Rank 4 takes the fused kernel, axis 1 of rank 4 and rank 5 do not.
@pytest.mark.parametrize(
    "shape, arguments",
    [
        ((8, 3), {}),
        ((8, 3), {"scale": False}),
        ((8, 4, 4, 3), {}),
        ((8, 4, 4, 3), {"center": False, "epsilon": 1e-4}),
        ((8, 4, 4, 3), {"axis": (2, 3)}),
        ((8, 4, 4, 3), {"fused": False}),
        ((8, 2, 2, 2, 3), {}),
        ((8, 3), {"dtype": "float64"}),
        ((8, 4, 4, 3), {"dtype": "float64"}),
    ],
    ids=str,
)
def test_without_update_equals_the_training_forward(shape, arguments):
    layer = _split_layer(shape, 2, **arguments)
    inputs = tf.cast(_inputs(shape), layer.dtype)
    before = layer.get_weights()
    outputs, gradient = _no_update(layer, inputs)
    _equal(layer.get_weights(), before)
    with ca.batch_norm_branch("auxiliary"):
        expected, (expected_gradient, *_) = _train(layer, inputs, rate=0.0)
    assert outputs.dtype == expected.dtype
    # Two orders of the same float32 operations (float64 shows more digits).
    tolerance = 1e-12 if layer.dtype == "float64" else 2e-5
    np.testing.assert_allclose(outputs, expected, atol=tolerance)
    np.testing.assert_allclose(gradient, expected_gradient, atol=10 * tolerance)


@pytest.mark.parametrize("update_statistics", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("branch", ["auxiliary", "split"])
def test_graph_touches_no_moving_statistics(shape, branch, update_statistics):
    layer = _split_layer(shape)

    @tf.function
    def forward(inputs):
        with ca.batch_norm_branch(branch, update_statistics):
            return layer(inputs, training=True)

    graph = forward.get_concrete_function(tf.TensorSpec(shape)).graph
    # A variable that is read or written is captured by its handle.
    captured = {id(external) for external, _ in graph.captures}
    touched = [
        id(variable.handle) in captured
        for variable in layer.non_trainable_weights
        if branch == "split" or variable.name.startswith("auxiliary")
    ]
    assert touched and all(t == update_statistics for t in touched)
    writes = [op for op in graph.get_operations() if "Assign" in op.type]
    assert bool(writes) == update_statistics


@pytest.mark.parametrize("update_statistics", [False, True])
@pytest.mark.parametrize("branch", ["main", "auxiliary", "split"])
@pytest.mark.parametrize("set_by", ["constructor", "attribute", "branch"])
def test_frozen_layer_runs_in_inference_mode(branch, update_statistics, set_by):
    trainable = set_by != "constructor"
    layer = _split_layer((None, 3), trainable=trainable)
    if set_by == "attribute":
        layer.trainable = False
    elif set_by == "branch":
        for each in layer.branch_layers:
            each.trainable = False
    before = layer.get_weights()
    inputs = _inputs((8, 3))
    with ca.batch_norm_branch(branch, update_statistics):
        outputs = layer(inputs, training=True)
        expected = layer(inputs, training=False)
    _equal(outputs, expected)
    _equal(layer.get_weights(), before)
    assert not layer.trainable_weights


def test_inference_ignores_update_statistics():
    layer = _split_layer((None, 3))
    inputs = _inputs((8, 3))
    with ca.batch_norm_branch("main", update_statistics=False):
        outputs = layer(inputs, training=False)
    _equal(outputs, layer(inputs, training=False))


# --- Replicas and precision -------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("update_statistics", [False, True])
def test_synchronized_on_two_replicas_equals_the_whole_batch(
    shape, update_statistics
):
    strategy = ca.distribution.strategy("mirrored", num_replicas=2)
    with strategy.scope():
        layer = _split_layer(shape, synchronized=True)
    # Not fused: the fused kernel's moving variance is the unbiased one.
    whole = tf.keras.layers.BatchNormalization(fused=False)
    whole.build(shape)
    whole.set_weights(layer.branch_layers[1].get_weights())
    inputs = _inputs(shape)
    halves = tf.split(inputs, 2)

    @tf.function
    def step():
        return strategy.run(forward)

    def forward():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        part = tf.where(replica == 0, halves[0], halves[1])
        with ca.batch_norm_branch("auxiliary", update_statistics):
            return layer(part, training=True)

    before = layer.branch_layers[1].get_weights()
    outputs = strategy.experimental_local_results(step())
    # Mean of squares minus square of the mean: inputs are about 1 +- 2.
    np.testing.assert_allclose(
        tf.concat(outputs, 0), whole(inputs, training=True), atol=1e-5
    )
    expected = whole.get_weights() if update_statistics else before
    for ours, wanted in zip(layer.branch_layers[1].get_weights(), expected):
        np.testing.assert_allclose(ours, wanted, rtol=1e-5)


def test_statistics_are_per_replica_by_default():
    strategy = ca.distribution.strategy("mirrored", num_replicas=2)
    with strategy.scope():
        layer = ca.SplitBatchNormalization()
        layer.build((None, 1))

    def forward():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        inputs = tf.constant([[0.0], [1.0]]) + 100.0 * tf.cast(
            replica, tf.float32
        )
        with ca.batch_norm_branch("auxiliary", update_statistics=False):
            return layer(inputs, training=True)

    first, second = strategy.experimental_local_results(
        tf.function(lambda: strategy.run(forward))()
    )
    # float32 at 100: the offset between the replicas is gone.
    np.testing.assert_allclose(first, second, atol=1e-3)


# A synchronized layer is an ordinary one where there is a single replica.
@pytest.mark.parametrize("update_statistics", [False, True])
def test_synchronized_on_one_device(update_statistics):
    layer = _split_layer((8, 3), synchronized=True)
    plain = _split_layer((8, 3))
    inputs = _inputs((8, 3))
    with ca.batch_norm_branch("auxiliary", update_statistics):
        np.testing.assert_allclose(
            layer(inputs, training=True),
            plain(inputs, training=True),
            atol=1e-5,
        )


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_mixed_precision_keeps_float32_variables(shape, policy):
    layer = _split_layer(shape, dtype=policy)
    assert {w.dtype for w in layer.weights} == {tf.float32}
    inputs = _inputs(shape)
    half = layer.compute_dtype
    expected = _split_layer(shape)(tf.cast(inputs, half), training=True)
    assert layer(inputs, training=True).dtype == half
    with ca.batch_norm_branch("main", update_statistics=False):
        outputs = layer(inputs, training=True)
    assert outputs.dtype == half
    # Statistics in float32: only the result is rounded, to 8 or 11 bits.
    ulp = 2.0 ** (-8 if half == "bfloat16" else -11)
    np.testing.assert_allclose(
        tf.cast(outputs, tf.float32), expected, rtol=ulp, atol=ulp
    )


# --- Configuration ----------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"branches": 3, "momentum": 0.9, "epsilon": 1e-5, "trainable": False},
        {"branches": 1, "axis": 1, "scale": False, "dtype": "mixed_bfloat16"},
        {
            "gamma_initializer": tf.keras.initializers.Constant(0.5),
            "beta_regularizer": tf.keras.regularizers.L2(0.25),
            "gamma_constraint": tf.keras.constraints.NonNeg(),
            "synchronized": True,
        },
    ],
)
def test_config_round_trip(arguments):
    layer = ca.SplitBatchNormalization(name="mine", **arguments)
    config = json.loads(json.dumps(tf.keras.layers.serialize(layer)))
    copy = tf.keras.layers.deserialize(config)
    assert type(copy) is ca.SplitBatchNormalization
    assert copy.get_config() == layer.get_config()
    layer.build((None, 4, 4, 3))
    copy.build((None, 4, 4, 3))
    assert [w.name for w in copy.weights] == [w.name for w in layer.weights]
    for ours, theirs in zip(layer.branch_layers, copy.branch_layers):
        for name in ("axis", "momentum", "epsilon", "center", "trainable"):
            assert getattr(ours, name) == getattr(theirs, name)
        # Keras's own batch norm forgets this one in its config.
        assert ours.synchronized is theirs.synchronized
        assert theirs.synchronized is arguments.get("synchronized", False)
        assert ours.dtype_policy.name == theirs.dtype_policy.name
    _equal(copy.get_weights(), layer.get_weights())


@pytest.mark.parametrize("branches", [0, 4, "two", None, 2.5])
def test_bad_number_of_branches(branches):
    with pytest.raises(ValueError, match=f"received {branches!r}"):
        ca.SplitBatchNormalization(branches)


@pytest.mark.parametrize(
    "branches, route", [(2, "augmented"), (2, 2), (1, 1), (3, 3)]
)
def test_missing_branch_names_the_layer_and_the_route(branches, route):
    layer = ca.SplitBatchNormalization(branches, name="stem_norm")
    message = f"'stem_norm' has {branches} branches .* routed to {route!r}"
    with ca.batch_norm_branch(route):
        with pytest.raises(ValueError, match=message):
            layer(tf.ones([2, 3]), training=True)


@pytest.mark.parametrize(
    "branch", ["clean", "", -1, 1.5, True, None, ("main",)]
)
def test_bad_branch_names_are_refused(branch):
    with pytest.raises(ValueError, match="Expected branch .* received"):
        with ca.batch_norm_branch(branch):
            pass
    assert routing.current_route() == routing.Route()


def test_write_free_path_of_a_plain_keras_layer():
    layer = tf.keras.layers.BatchNormalization()
    inputs = _inputs((8, 3))
    expected = layer(inputs, training=True)
    np.testing.assert_allclose(
        normalize_with_batch_statistics(layer, inputs), expected, atol=1e-5
    )
