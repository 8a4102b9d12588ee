"""Splitting and merging batch norms: same functions, names and weights."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.networks import conversion
from tests import convertible

layers = tf.keras.layers


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


def _equal(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("branches", [1, 2, 3])
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

    ours, theirs = (
        convertible.all_layers(split),
        convertible.all_layers(network),
    )
    assert split.name == network.name
    assert [x.name for x in ours] == [x.name for x in theirs]
    for layer, original in zip(ours, theirs):
        assert layer is not original
        assert layer.trainable is original.trainable, layer.name
        assert layer.dtype_policy.name == original.dtype_policy.name
        if isinstance(original, convertible.BATCH_NORMS):
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
    assert not convertible.norms(network, ca.SplitBatchNormalization)
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
    # The same moving statistics were updated: none of frozen layers.
    for layer, original in zip(
        convertible.all_layers(split), convertible.all_layers(network)
    ):
        if isinstance(layer, ca.SplitBatchNormalization):
            main = layer.branch_layers[0].get_weights()
            _equal(main, original.get_weights())


def test_training_the_copy_leaves_the_original_alone():
    network = convertible.make(convertible.residual)
    before = network.get_weights()
    split = ca.split_batch_norm(network)
    split.compile("sgd", "mse")
    split.train_on_batch(convertible.images(), np.ones([4, 3]))
    _equal(network.get_weights(), before)


def test_shared_layers_stay_shared():
    split = ca.split_batch_norm(convertible.make(convertible.nested))
    block = split.get_layer("block")
    assert split.get_layer("wrapper").get_layer("block") is block
    assert len(convertible.norms(split, ca.SplitBatchNormalization)) == 2
    # Once in the block's own graph, and once for each further call.
    assert len(block.get_layer("shared_norm").inbound_nodes) >= 2


def test_frozen_weights_are_counted_alike():
    network = convertible.make(convertible.frozen)
    split = ca.split_batch_norm(network, branches=1)

    def names(model):
        return sorted(
            "/".join(part for part in w.name.split("/") if part != "main")
            for w in model.trainable_weights
        )

    assert names(split) == names(network)


@pytest.mark.parametrize("branches", [1, 2, 3])
@pytest.mark.parametrize("factory", convertible.PLAIN)
def test_merge_undoes_split(factory, branches):
    network = convertible.make(factory)
    merged = ca.merge_batch_norm(ca.split_batch_norm(network, branches))
    assert _config(merged) == _config(network)
    images = convertible.images()
    np.testing.assert_array_equal(
        merged(images, training=False), network(images, training=False)
    )
    for layer, original in zip(
        convertible.all_layers(merged), convertible.all_layers(network)
    ):
        assert type(layer) is type(original)
        assert layer.name == original.name
        assert layer.trainable is original.trainable, layer.name
        _equal(layer.get_weights(), original.get_weights())


def test_merge_takes_the_main_branch():
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
    for layer, original in zip(
        convertible.all_layers(copy), convertible.all_layers(network)
    ):
        assert layer is not original
        assert layer.trainable is original.trainable, layer.name
        if isinstance(layer, convertible.BATCH_NORMS):
            assert layer.synchronized is original.synchronized


def test_splitting_a_split_network_again_keeps_its_branches():
    split = convertible.make(convertible.already_split)
    again = ca.split_batch_norm(split)
    _equal(again.get_weights(), split.get_weights())


def test_lambda_normalization_and_dropout_survive_both_ways():
    network = convertible.make(convertible.with_other_layers)
    images = convertible.images()
    for copy in (
        ca.split_batch_norm(network),
        ca.merge_batch_norm(ca.split_batch_norm(network)),
    ):
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
