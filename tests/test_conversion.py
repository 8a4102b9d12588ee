"""Splitting and merging batch norms keeps functions, names and weights."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.networks import conversion
from tests import convertible
from tests.marks import slow

layers = tf.keras.layers


def _config(network):
    """Returns a config without parts that Keras varies for equal layers."""

    def cleaned(value):
        if isinstance(value, (list, tuple)):
            return [cleaned(each) for each in value]
        if not isinstance(value, dict):
            return value
        # The shapes that a layer was built with, and marshalled bytecode, which
        # varies with reference counts.
        left_out = {"build_config"}
        if value.get("function_type") == "lambda":
            left_out.add("function")
        return {k: cleaned(v) for k, v in value.items() if k not in left_out}

    return cleaned(network.get_config())


def _assert_equal(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a, b)


def _layer_pairs(copy, network):
    """Pairs layers of a copy and of its original; checks names and flags."""
    ours = convertible.all_layers(copy)
    theirs = convertible.all_layers(network)
    assert [layer.name for layer in ours] == [layer.name for layer in theirs]
    for layer, original in zip(ours, theirs):
        assert layer is not original
        assert layer.trainable is original.trainable, layer.name
    return list(zip(ours, theirs))


def _split_norms(network):
    return convertible.norms(network, ca.SplitBatchNormalization)


@pytest.mark.parametrize("branches", [slow(1), 2, slow(3)])
@pytest.mark.parametrize(
    "factory", [*convertible.PLAIN, convertible.synchronized]
)
def test_split_keeps_function_names_weights_and_flags(factory, branches):
    network = convertible.make(factory)
    weights = network.get_weights()
    images = convertible.images()
    expected = network(images, training=False)
    split = ca.split_batch_norm(network, branches)

    for route in ["main", "auxiliary", *range(branches)]:
        with ca.batch_norm_branch(route):
            outputs = split(images, training=False)
        np.testing.assert_array_equal(outputs, expected)

    assert split.name == network.name
    for layer, original in _layer_pairs(split, network):
        assert layer.dtype_policy.name == original.dtype_policy.name
        if isinstance(original, convertible.BATCH_NORMS):
            assert type(layer) is ca.SplitBatchNormalization
            assert layer.branches == branches
            for branch in layer.branch_layers:
                assert branch.trainable is original.trainable
                assert branch.synchronized is original.synchronized
                _assert_equal(branch.get_weights(), original.get_weights())
        else:
            assert type(layer) is type(original)

    # The original is unchanged and shares nothing with the copy.
    _assert_equal(network.get_weights(), weights)
    assert not _split_norms(network)
    shared = {id(w) for w in network.weights} & {id(w) for w in split.weights}
    assert not shared


@pytest.mark.parametrize("factory", convertible.PLAIN)
def test_main_branch_trains_like_the_original(factory):
    network = convertible.make(factory)
    split = ca.split_batch_norm(network)
    images = convertible.images()
    outputs = []
    for each in (network, split):
        tf.keras.utils.set_random_seed(0)  # Dropout.
        outputs.append(each(images, training=True))
    np.testing.assert_array_equal(*outputs)
    # The same moving statistics were updated, and none of frozen layers.
    for layer, original in _layer_pairs(split, network):
        if isinstance(layer, ca.SplitBatchNormalization):
            main = layer.branch_layers[0].get_weights()
            _assert_equal(main, original.get_weights())


def test_training_the_copy_does_not_change_the_original():
    network = convertible.make(convertible.residual)
    before = network.get_weights()
    split = ca.split_batch_norm(network)
    split.compile("sgd", "mse")
    split.train_on_batch(convertible.images(), np.ones([4, 3]))
    _assert_equal(network.get_weights(), before)


def test_shared_layers_stay_shared():
    split = ca.split_batch_norm(convertible.make(convertible.nested))
    block = split.get_layer("block")
    assert split.get_layer("wrapper").get_layer("block") is block
    assert len(_split_norms(split)) == 2
    # One node in the block's graph, and one for each further call.
    assert len(block.get_layer("shared_norm").inbound_nodes) >= 2


def test_trainable_weights_have_the_same_names():
    network = convertible.make(convertible.frozen)
    split = ca.split_batch_norm(network, branches=1)

    def names(model):
        return sorted(
            "/".join(part for part in w.name.split("/") if part != "main")
            for w in model.trainable_weights
        )

    assert names(split) == names(network)


@pytest.mark.parametrize("branches", [slow(1), 2, slow(3)])
@pytest.mark.parametrize("factory", convertible.PLAIN)
def test_merge_undoes_split(factory, branches):
    network = convertible.make(factory)
    merged = ca.merge_batch_norm(ca.split_batch_norm(network, branches))
    assert _config(merged) == _config(network)
    images = convertible.images()
    np.testing.assert_array_equal(
        merged(images, training=False), network(images, training=False)
    )
    for layer, original in _layer_pairs(merged, network):
        assert type(layer) is type(original)
        _assert_equal(layer.get_weights(), original.get_weights())


def test_merge_keeps_the_main_branch():
    split = convertible.make(convertible.already_split)
    images = convertible.images()
    merged = ca.merge_batch_norm(split)
    np.testing.assert_array_equal(
        merged(images, training=False), split(images, training=False)
    )
    with ca.batch_norm_branch("auxiliary"):
        auxiliary = split(images, training=False)
    assert np.any(auxiliary != merged(images, training=False))


def test_merge_keeps_synchronization():
    merged = ca.merge_batch_norm(
        ca.split_batch_norm(convertible.make(convertible.synchronized))
    )
    norms = convertible.norms(merged, layers.BatchNormalization)
    assert [norm.synchronized for norm in norms] == [True, True]


@pytest.mark.parametrize(
    "factory",
    [*convertible.PLAIN, convertible.already_split, convertible.synchronized],
)
def test_copy_has_the_same_config_and_outputs(factory):
    network = convertible.make(factory)
    copy = conversion.copy_network(network)
    assert _config(copy) == _config(network)
    images = convertible.images()
    for route in ("main", "auxiliary"):
        with ca.batch_norm_branch(route):
            np.testing.assert_array_equal(
                copy(images, training=False), network(images, training=False)
            )
    for layer, original in _layer_pairs(copy, network):
        if isinstance(layer, convertible.BATCH_NORMS):
            assert layer.synchronized is original.synchronized


def test_splitting_a_split_network_again_keeps_its_branches():
    split = convertible.make(convertible.already_split)
    again = ca.split_batch_norm(split)
    _assert_equal(again.get_weights(), split.get_weights())


def test_lambda_normalization_and_dropout_are_copied():
    network = convertible.make(convertible.with_other_layers)
    images = convertible.images()
    split = ca.split_batch_norm(network)
    for copy in (split, ca.merge_batch_norm(split)):
        ones = tf.ones([1, *convertible.SHAPE])
        np.testing.assert_array_equal(copy.get_layer("function")(-ones), 1.25)
        normalize = copy.get_layer("adapted")
        np.testing.assert_array_equal(
            normalize(images), network.get_layer("adapted")(images)
        )
        assert normalize.mean.numpy().ravel() == pytest.approx(4.0, abs=0.2)
        dropped = copy.get_layer("drop")(ones, training=True).numpy()
        assert set(dropped.ravel()) == {0.0, 2.0}


def test_number_of_branches():
    network = convertible.residual()
    assert conversion.number_of_branches(network) is None
    split = ca.split_batch_norm(network, 3)
    assert conversion.number_of_branches(split) == 3
    inputs = tf.keras.Input((3,))
    x = ca.SplitBatchNormalization(2, name="two")(inputs)
    x = ca.SplitBatchNormalization(3, name="three")(x)
    mixed = tf.keras.Model(inputs, x)
    with pytest.raises(ValueError, match="{'two': 2, 'three': 3}"):
        conversion.number_of_branches(mixed)


def test_another_number_of_branches_is_refused_with_the_remedy():
    split = ca.split_batch_norm(convertible.residual(), branches=3)
    message = "'norm_a' to have 2 branches.*received 3 branches.*Merge them"
    with pytest.raises(ValueError, match=message):
        ca.split_batch_norm(split, branches=2)
    remedy = ca.split_batch_norm(ca.merge_batch_norm(split), branches=2)
    assert [norm.branches for norm in _split_norms(remedy)] == [2, 2]


@pytest.mark.parametrize("branches", [0, 4])
def test_bad_number_of_branches_is_refused(branches):
    with pytest.raises(ValueError, match=f"received {branches}"):
        ca.split_batch_norm(convertible.residual(), branches)


class _Subclassed(tf.keras.Model):
    def __init__(self):
        super().__init__(name="subclassed")
        self.norm = layers.BatchNormalization()

    def call(self, inputs, training=None):
        return self.norm(inputs, training=training)


def _around_subclassed():
    inputs = tf.keras.Input(convertible.SHAPE)
    x = layers.BatchNormalization()(inputs)
    return tf.keras.Model(inputs, _Subclassed()(x))


@pytest.mark.parametrize(
    "make_network, message",
    [
        (_Subclassed, "received 'subclassed' of class _Subclassed"),
        (_around_subclassed, "received 'subclassed' of class"),
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
def test_networks_that_are_not_functional_are_refused(
    make_network, message, convert
):
    with pytest.raises(ValueError, match=message):
        convert(make_network())
