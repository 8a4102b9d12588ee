"""The paper's ResNets and EfficientNets.

`test_network_battery.py` converts and trains them.
"""

import functools

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests.marks import slow

SHAPE = (32, 32, 3)
MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


def _count(variables):
    return sum(variable.shape.num_elements() for variable in variables)


def _images(size=2):
    rng = np.random.default_rng(1)
    return rng.uniform(size=(size, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize(
    "build, arguments, message",
    [
        (ca.networks.resnet, {"depth": 51}, "received 51"),
        (
            ca.networks.resnet,
            {"depth": 18, "input_shape": (32, 32, 1)},
            "each of 1 channels.*mean=None",
        ),
        (ca.networks.resnet_cifar, {"depth": 21}, "received 21"),
        (ca.networks.efficientnet, {"variant": "b9"}, "received 'b9'"),
        (
            ca.networks.efficientnet_b0,
            {"input_shape": (32, 32, 1)},
            r"received \(32, 32, 1\)",
        ),
        (
            ca.networks.efficientnet_b0,
            {"input_shape": (8, 8, 3)},
            "at least 32x32",
        ),
    ],
)
def test_wrong_arguments(build, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


# --- ResNet -------------------------------------------------------------------


# MLPerf's ResNet-50 v1.5 and torchvision's ResNets have no convolution biases.
@pytest.mark.parametrize(
    "depth, parameters",
    [(18, 11689512), slow(34, 21797672), slow(50, 25557032)],
)
def test_resnets_have_the_published_number_of_parameters(depth, parameters):
    network = ca.networks.resnet(depth)
    assert _count(network.trainable_weights) == parameters


def test_resnet50_is_version_1_5():
    network = ca.networks.resnet50()
    assert network.name == "resnet50"
    assert network.output_shape == (None, 1000)
    # The stride of a bottleneck is in its 3x3 convolution.
    assert network.get_layer("stage2_block1_1_conv").strides == (1, 1)
    assert network.get_layer("stage2_block1_2_conv").strides == (2, 2)


@pytest.mark.parametrize("depth, channels", [(20, 4), (56, 1)])
def test_small_resnets(depth, channels):
    network = ca.networks.resnet_cifar(depth, 7, (8, 8, channels))
    convolutions = [
        layer
        for layer in network.layers
        if isinstance(layer, tf.keras.layers.Conv2D)
        and "shortcut" not in layer.name
    ]
    assert len(convolutions) + 1 == depth  # Plus the dense layer.
    assert network(np.zeros((2, 8, 8, channels))).shape == (2, 7)


# The last gamma of a block is 0, so that a block starts as its shortcut.
def test_blocks_start_as_the_identity():
    network = ca.networks.resnet_cifar(8, input_shape=(8, 8, 3))
    stem = network.get_layer("stem_relu").output
    block = network.get_layer("stage1_block1_relu").output
    both = tf.keras.Model(network.input, [stem, block])
    before, after = both(np.random.rand(2, 8, 8, 3))
    np.testing.assert_array_equal(before, after)


def test_normalization_is_a_layer_of_the_network():
    network = ca.networks.resnet(18, 10, SHAPE, mean=0.5, std=0.25)
    layer = network.get_layer("normalization")
    np.testing.assert_allclose(layer(np.ones((1, 2, 2, 3))), 2.0, rtol=1e-6)


def test_logits_are_float32_in_bfloat16():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    network = ca.networks.resnet_cifar(8)
    assert network.get_layer("stem_conv").compute_dtype == "bfloat16"
    assert network(np.zeros((1, *SHAPE))).dtype == tf.float32


# --- EfficientNet -------------------------------------------------------------


@pytest.mark.parametrize(
    "variant, resolution, parameters, trainable",
    [
        slow("b0", 224, 5330571, 5288548),
        slow("b1", 240, 7856239, 7794184),
        slow("b2", 260, 9177569, 9109994),
        slow("b3", 300, 12320535, 12233232),
    ],
)
def test_efficientnets_have_as_many_parameters_as_in_keras(
    variant, resolution, parameters, trainable
):
    network = getattr(ca.networks, f"efficientnet_{variant}")()
    assert network.count_params() == parameters
    assert _count(network.trainable_weights) == trainable
    assert network.input_shape == (None, resolution, resolution, 3)
    assert network.output_shape == (None, 1000)
    assert network.name == f"efficientnet_{variant}"


@functools.cache
def _created_by_keras(variant):
    """Returns Keras's network and weights like those after training."""
    application = getattr(
        tf.keras.applications, f"EfficientNet{variant.upper()}"
    )
    network = application(
        weights=None,
        classes=5,
        classifier_activation=None,
        input_shape=SHAPE,
    )
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = 0.0
            layer.set_weights(
                [rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()]
            )
    # With the moving statistics of real images, the outputs depend on the
    # images and not on rounding.
    network(255 * _images(16), training=True)
    return network, network.get_weights()


def _keras_network(variant):
    """Returns Keras's network with the weights that it was created with."""
    network, weights = _created_by_keras(variant)
    network.set_weights(weights)
    return network


def _check_equal(ours, theirs):
    logits = theirs(255 * _images())
    assert np.any(np.abs(logits - theirs(_images())) > 0.1)
    np.testing.assert_allclose(ours(_images()), logits, rtol=1e-4, atol=1e-3)


# Also after another network has taken the plain layer names.
@pytest.mark.slow
@pytest.mark.parametrize("variant", ["b0", "b2"])
def test_weights_of_keras_load_by_name(variant, tmp_path):
    theirs = _keras_network(variant)
    theirs.save_weights(tmp_path / "weights.h5")
    ours = ca.networks.efficientnet(variant, 5, SHAPE)
    ours.load_weights(tmp_path / "weights.h5", by_name=True)
    _check_equal(ours, theirs)
    converted = ca.split_batch_norm(ours)
    np.testing.assert_array_equal(converted(_images()), ours(_images()))


# The published files have the standard deviation in place of the variance.
@pytest.mark.slow
def test_published_weights_load_with_our_normalization(tmp_path):
    theirs = _keras_network("b0")
    normalization = theirs.get_layer("normalization")
    normalization.set_weights([MEAN, STD, np.array(0)])
    theirs.save_weights(tmp_path / "weights.h5")
    normalization.set_weights([MEAN, STD**2, np.array(0)])
    ours = ca.networks.efficientnet_b0(5, SHAPE)
    layer = ours.get_layer("normalization")
    weights = layer.get_weights()
    ours.load_weights(tmp_path / "weights.h5", by_name=True)
    layer.set_weights(weights)
    _check_equal(ours, theirs)


@pytest.fixture(scope="module")
def dropping():
    """A network with high dropout rates that computes in bfloat16."""
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    return ca.networks.efficientnet_b0(
        5, SHAPE, dropout_rate=0.4, drop_connect_rate=0.9
    )


def test_first_and_last_layers_in_bfloat16(dropping):
    network = dropping
    assert network.get_layer("stem_conv").compute_dtype == "bfloat16"
    assert network.output.dtype == tf.float32
    assert network.layers[-1].activation is tf.keras.activations.linear
    assert network.get_layer("top_dropout").rate == 0.4
    normalized = network.get_layer("normalization")(_images())
    assert normalized.dtype == tf.float32
    np.testing.assert_allclose(
        normalized, (_images() - MEAN) / STD, rtol=1e-4, atol=1e-5
    )


def test_rate_of_stochastic_depth_increases_to_the_given_rate(dropping):
    rates = [
        layer.rate
        for layer in dropping.layers
        if layer.name.startswith("block") and layer.name.endswith("_drop")
    ]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.9 * 14 / 16)  # 15th of 16 blocks.


# Identical images differ after the first residual branch that one half drops.
def test_halves_of_a_batch_drop_different_branches_in_bfloat16(dropping):
    network = ca.split_batch_norm(dropping)
    drops = [
        layer
        for layer in network.layers
        if isinstance(layer, tf.keras.layers.Dropout)
    ]
    taps = tf.keras.Model(network.input, [layer.output for layer in drops])
    images = _images(4)
    with ca.batch_norm_branch("split"):
        *branches, units = taps(np.concatenate([images, images]), training=True)
    # [drop layers, halves, examples]
    kept = np.array([np.any(x, axis=(1, 2, 3)) for x in branches])
    clean, adversarial = np.split(kept, 2, axis=1)
    assert np.any(clean != adversarial)
    for half in (clean, adversarial):
        assert 0 < half.mean() < 1
    clean, adversarial = np.split(units.numpy() == 0, 2)
    assert np.any(clean != adversarial)
