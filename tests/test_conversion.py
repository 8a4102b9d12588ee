"""Splitting and merging batch norms: same functions, names and weights."""

import re

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.networks import conversion

layers = tf.keras.layers
SHAPE = (6, 6, 2)
BATCH_NORMS = (
    layers.BatchNormalization,
    layers.experimental.SyncBatchNormalization,
)


def _images(size=4):
    return np.random.default_rng(1).uniform(size=(size, *SHAPE)).astype("f4")


def _residual():
    inputs = tf.keras.Input(SHAPE)
    x = shortcut = layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs)
    x = layers.BatchNormalization(momentum=0.9, name="norm_a")(x)
    x = layers.ReLU()(x)
    x = layers.Conv2D(4, 3, padding="same")(x)
    x = layers.BatchNormalization(epsilon=1e-5, scale=False, name="norm_b")(x)
    x = layers.Add()([shortcut, x])
    x = layers.GlobalAveragePooling2D()(x)
    return tf.keras.Model(inputs, layers.Dense(3)(x), name="residual")


def _nested():
    """A block, with one batch norm called twice, itself called twice."""
    block_inputs = tf.keras.Input((6, 6, 2))
    norm = layers.BatchNormalization(name="shared_norm")
    x = norm(block_inputs)
    x = layers.ReLU()(x)
    x = layers.Conv2D(2, 1)(norm(x))
    block = tf.keras.Model(block_inputs, x, name="block")
    wrapper_inputs = tf.keras.Input((6, 6, 2))
    x = layers.BatchNormalization(name="wrapper_norm")(block(wrapper_inputs))
    wrapper = tf.keras.Model(wrapper_inputs, x, name="wrapper")
    inputs = tf.keras.Input(SHAPE)
    x = layers.Add()([wrapper(inputs), block(inputs)])
    x = layers.Flatten()(x)
    return tf.keras.Model(inputs, layers.Dense(3)(x), name="nested")


def _sequential():
    return tf.keras.Sequential(
        [
            tf.keras.Input(SHAPE),
            layers.Conv2D(3, 3),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(3),
        ],
        name="sequential",
    )


def _sequential_with_batch_norm_first():
    return tf.keras.Sequential(
        [
            layers.BatchNormalization(input_shape=SHAPE),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def _frozen():
    """Frozen layers, a frozen model with a thawed layer, training=False."""
    inputs = tf.keras.Input(SHAPE)
    x = layers.BatchNormalization(name="frozen_norm", trainable=False)(inputs)
    x = layers.BatchNormalization(name="inference_norm")(x, training=False)
    part_inputs = tf.keras.Input((6, 6, 2))
    y = layers.Conv2D(2, 1, name="frozen_conv")(part_inputs)
    y = layers.BatchNormalization(name="thawed_norm")(y)
    part = tf.keras.Model(part_inputs, y, name="part")
    part.trainable = False
    part.get_layer("thawed_norm").trainable = True
    x = part(x, training=False)
    inner = layers.Dense(3, name="inner", trainable=False)
    x = layers.TimeDistributed(inner, name="wrapper")(x)
    x = layers.Dense(3)(layers.Flatten()(x))
    return tf.keras.Model(inputs, x, name="frozen")


def _with_other_layers():
    """Layers whose state or function is easily lost in a copy."""
    normalize = layers.Normalization(name="adapted")
    normalize.adapt(3.0 + 2.0 * _images(32))
    offset = 0.25
    inputs = tf.keras.Input(SHAPE)
    x = layers.Lambda(lambda v: tf.abs(v) + offset, name="function")(inputs)
    x = normalize(x)
    x = layers.BatchNormalization()(x)
    x = tf.nn.relu(x) * 2.0
    x = layers.Dropout(0.5, name="drop")(x)
    x = layers.Flatten()(x)
    return tf.keras.Model(inputs, layers.Dense(3)(x), name="other")


def _already_split():
    return ca.split_batch_norm(_residual())


def _synchronized():
    inputs = tf.keras.Input(SHAPE)
    x = layers.BatchNormalization(synchronized=True)(inputs)
    x = layers.experimental.SyncBatchNormalization()(x)
    return tf.keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


PLAIN = [
    _residual,
    _nested,
    _sequential,
    _sequential_with_batch_norm_first,
    _frozen,
    _with_other_layers,
]


def _make(factory):
    """A network whose every weight has a value of its own."""
    network = factory()
    rng = np.random.default_rng(0)
    for layer in network._flatten_layers():
        if isinstance(layer, BATCH_NORMS):
            layer.set_weights(
                [rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()]
            )
    return network


def _all_layers(network):
    """Layers by name, nested ones too; branches of a split one left out."""
    branches = {
        id(branch)
        for layer in network._flatten_layers()
        if isinstance(layer, ca.SplitBatchNormalization)
        for branch in layer.branch_layers
    }
    return [
        layer
        for layer in network._flatten_layers(include_self=False)
        if id(layer) not in branches
    ]


def _config(network):
    """A config without what differs between equal layers in Keras itself."""

    def cleaned(value):
        if isinstance(value, (list, tuple)):
            return [cleaned(each) for each in value]
        if not isinstance(value, dict):
            return value
        # Shapes that a layer happened to be built with; marshalled bytecode,
        # which varies with reference counts.
        left_out = {"build_config"}
        if value.get("function_type") == "lambda":
            left_out.add("function")
        return {k: cleaned(v) for k, v in value.items() if k not in left_out}

    return cleaned(network.get_config())


def _norms(network, kind):
    return [layer for layer in _all_layers(network) if isinstance(layer, kind)]


def _equal(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a, b)


# --- Split ------------------------------------------------------------------


@pytest.mark.parametrize("branches", [1, 2, 3])
@pytest.mark.parametrize("factory", [*PLAIN, _synchronized])
def test_split_keeps_function_names_weights_and_flags(factory, branches):
    network = _make(factory)
    weights = network.get_weights()
    images = _images()
    expected = network(images, training=False)
    split = ca.split_batch_norm(network, branches)

    for route in ["main", "auxiliary", *range(branches)]:
        with ca.batch_norm_branch(route):
            outputs = split(images, training=False)
        np.testing.assert_array_equal(outputs, expected)

    ours, theirs = _all_layers(split), _all_layers(network)
    assert split.name == network.name
    assert [x.name for x in ours] == [x.name for x in theirs]
    for layer, original in zip(ours, theirs):
        assert layer is not original
        assert layer.trainable is original.trainable, layer.name
        assert layer.dtype_policy.name == original.dtype_policy.name
        if isinstance(original, BATCH_NORMS):
            assert type(layer) is ca.SplitBatchNormalization
            assert layer.branches == branches
            for branch in layer.branch_layers:
                assert branch.trainable is original.trainable
                assert branch.synchronized is original.synchronized
                _equal(branch.get_weights(), original.get_weights())
        else:
            assert type(layer) is type(original)

    # The original is as it was, and shares nothing with the copy.
    _equal(network.get_weights(), weights)
    assert not _norms(network, ca.SplitBatchNormalization)
    shared = {id(w) for w in network.weights} & {id(w) for w in split.weights}
    assert not shared


@pytest.mark.parametrize("factory", PLAIN)
def test_main_branch_trains_like_the_original(factory):
    network = _make(factory)
    split = ca.split_batch_norm(network)
    images = _images()
    outputs = []
    for each in (network, split):
        tf.keras.utils.set_random_seed(0)  # Dropout.
        outputs.append(each(images, training=True))
    np.testing.assert_array_equal(*outputs)
    # The same moving statistics were updated: none of frozen layers.
    for layer, original in zip(_all_layers(split), _all_layers(network)):
        if isinstance(layer, ca.SplitBatchNormalization):
            main = layer.branch_layers[0].get_weights()
            _equal(main, original.get_weights())


def test_training_the_copy_leaves_the_original_alone():
    network = _make(_residual)
    before = network.get_weights()
    split = ca.split_batch_norm(network)
    split.compile("sgd", "mse")
    split.train_on_batch(_images(), np.ones([4, 3]))
    _equal(network.get_weights(), before)


def test_shared_layers_stay_shared():
    split = ca.split_batch_norm(_make(_nested))
    block = split.get_layer("block")
    assert split.get_layer("wrapper").get_layer("block") is block
    assert len(_norms(split, ca.SplitBatchNormalization)) == 2
    # Once in the block's own graph, and once for each further call.
    assert len(block.get_layer("shared_norm").inbound_nodes) >= 2


def test_frozen_weights_are_counted_alike():
    network = _make(_frozen)
    split = ca.split_batch_norm(network, branches=1)

    def names(model):
        return sorted(
            "/".join(part for part in w.name.split("/") if part != "main")
            for w in model.trainable_weights
        )

    assert names(split) == names(network)


# --- Merge and copy ---------------------------------------------------------


@pytest.mark.parametrize("branches", [1, 2, 3])
@pytest.mark.parametrize("factory", PLAIN)
def test_merge_undoes_split(factory, branches):
    network = _make(factory)
    merged = ca.merge_batch_norm(ca.split_batch_norm(network, branches))
    assert _config(merged) == _config(network)
    images = _images()
    np.testing.assert_array_equal(
        merged(images, training=False), network(images, training=False)
    )
    for layer, original in zip(_all_layers(merged), _all_layers(network)):
        assert type(layer) is type(original)
        assert layer.name == original.name
        assert layer.trainable is original.trainable, layer.name
        _equal(layer.get_weights(), original.get_weights())


def test_merge_takes_the_main_branch():
    split = _make(_already_split)
    images = _images()
    merged = ca.merge_batch_norm(split)
    np.testing.assert_array_equal(
        merged(images, training=False), split(images, training=False)
    )
    with ca.batch_norm_branch("auxiliary"):
        auxiliary = split(images, training=False)
    assert np.any(auxiliary != merged(images, training=False))


def test_merge_keeps_synchronization():
    merged = ca.merge_batch_norm(ca.split_batch_norm(_make(_synchronized)))
    norms = _norms(merged, layers.BatchNormalization)
    assert [norm.synchronized for norm in norms] == [True, True]


@pytest.mark.parametrize("factory", [*PLAIN, _already_split, _synchronized])
def test_copy_has_the_same_config_and_outputs(factory):
    network = _make(factory)
    copy = conversion.copy_network(network)
    assert _config(copy) == _config(network)
    images = _images()
    for route in ("main", "auxiliary"):
        with ca.batch_norm_branch(route):
            np.testing.assert_array_equal(
                copy(images, training=False), network(images, training=False)
            )
    for layer, original in zip(_all_layers(copy), _all_layers(network)):
        assert layer is not original
        assert layer.trainable is original.trainable, layer.name
        if isinstance(layer, BATCH_NORMS):
            assert layer.synchronized is original.synchronized


def test_splitting_a_split_network_again_keeps_its_branches():
    split = _make(_already_split)
    again = ca.split_batch_norm(split)
    _equal(again.get_weights(), split.get_weights())


def test_lambda_normalization_and_dropout_survive_both_ways():
    network = _make(_with_other_layers)
    images = _images()
    for copy in (
        ca.split_batch_norm(network),
        ca.merge_batch_norm(ca.split_batch_norm(network)),
    ):
        ones = tf.ones([1, *SHAPE])
        np.testing.assert_array_equal(copy.get_layer("function")(-ones), 1.25)
        normalize = copy.get_layer("adapted")
        np.testing.assert_array_equal(
            normalize(images), network.get_layer("adapted")(images)
        )
        assert normalize.mean.numpy().ravel() == pytest.approx(4.0, abs=0.2)
        dropped = copy.get_layer("drop")(ones, training=True).numpy()
        assert set(dropped.ravel()) == {0.0, 2.0}


# --- What cannot be converted -----------------------------------------------


class _OwnBatchNorm(layers.BatchNormalization):
    pass


class _OwnSyncBatchNorm(layers.experimental.SyncBatchNormalization):
    pass


class _Holder(layers.Layer):
    """A custom layer that holds a batch norm."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.held = layers.BatchNormalization(name="held_norm")

    def call(self, inputs, training=None):
        return self.held(inputs, training=training)


def _around(layer):
    inputs = tf.keras.Input(SHAPE)
    x = layers.BatchNormalization(name="reached")(inputs)
    return tf.keras.Model(inputs, layer(x))


@pytest.mark.parametrize(
    "make_layer, names",
    [
        (lambda: _OwnBatchNorm(name="own_norm"), "'own_norm'"),
        (lambda: _OwnSyncBatchNorm(name="own_sync_norm"), "'own_sync_norm'"),
        (
            lambda: tf.compat.v1.keras.layers.BatchNormalization(
                name="old_norm"
            ),
            "'old_norm'",
        ),
        (
            lambda: layers.TimeDistributed(
                layers.BatchNormalization(name="timed_norm"), name="timed"
            ),
            "'timed_norm' (held by 'timed')",
        ),
        (
            lambda: _Holder(name="holder"),
            "'held_norm' (held by 'holder')",
        ),
        (
            lambda: tf.keras.Sequential(
                [tf.keras.Input(SHAPE), _OwnBatchNorm(name="deep_norm")]
            ),
            "'deep_norm'",
        ),
    ],
    ids=[
        "subclass",
        "sync subclass",
        "version 1",
        "wrapper",
        "custom layer",
        "nested",
    ],
)
def test_batch_norms_out_of_reach_are_named(make_layer, names):
    network = _around(make_layer())
    with pytest.raises(ValueError, match=re.escape(f"be split: {names}. ")):
        ca.split_batch_norm(network)
    # Copying needs to reach nothing.
    images = _images()
    np.testing.assert_array_equal(
        conversion.copy_network(network)(images), network(images)
    )


class _Subclassed(tf.keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.norm = layers.BatchNormalization()

    def call(self, inputs, training=None):
        return self.norm(inputs, training=training)


@pytest.mark.parametrize(
    "make_network, message",
    [
        (_Subclassed, "received 'subclassed' of class _Subclassed"),
        (lambda: _around(_Subclassed()), "received 'subclassed' of class"),
        (
            lambda: tf.keras.Sequential([layers.Dense(3)], name="unbuilt"),
            "received 'unbuilt' of class Sequential.* Input layer",
        ),
        (lambda: layers.Dense(3), "received Dense"),
        (lambda: "resnet50", "received str"),
    ],
    ids=["subclassed", "nested", "unbuilt", "layer", "string"],
)
@pytest.mark.parametrize(
    "convert",
    [ca.split_batch_norm, ca.merge_batch_norm, conversion.copy_network],
)
def test_networks_that_cannot_be_seen_are_refused(
    make_network, message, convert
):
    with pytest.raises(ValueError, match=message):
        convert(make_network())


def test_another_number_of_branches_is_refused_with_the_remedy():
    split = ca.split_batch_norm(_make(_residual), branches=3)
    message = "'norm_a' already has 3 branches; 2 were asked for.* Merge it"
    with pytest.raises(ValueError, match=message):
        ca.split_batch_norm(split, branches=2)
    remedy = ca.split_batch_norm(ca.merge_batch_norm(split), branches=2)
    norms = _norms(remedy, ca.SplitBatchNormalization)
    assert [norm.branches for norm in norms] == [2, 2]


@pytest.mark.parametrize("branches", [0, 4])
def test_bad_number_of_branches_is_refused(branches):
    with pytest.raises(ValueError, match=f"received {branches}"):
        ca.split_batch_norm(_residual(), branches)


def test_number_of_branches():
    network = _residual()
    assert conversion.number_of_branches(network) is None
    split = ca.split_batch_norm(network, 3)
    assert conversion.number_of_branches(split) == 3
    inputs = tf.keras.Input((3,))
    x = ca.SplitBatchNormalization(2, name="two")(inputs)
    x = ca.SplitBatchNormalization(3, name="three")(x)
    mixed = tf.keras.Model(inputs, x)
    with pytest.raises(ValueError, match="{'two': 2, 'three': 3}"):
        conversion.number_of_branches(mixed)
