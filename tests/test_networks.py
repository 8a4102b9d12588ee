"""The paper's ResNets; `test_network_battery.py` converts and trains them."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca


def count(variables):
    return sum(int(np.prod(variable.shape)) for variable in variables)


# MLPerf's ResNet-50 v1.5 without convolution biases.
def test_resnet50_has_the_reference_number_of_parameters():
    network = ca.networks.resnet50()
    assert count(network.trainable_weights) == 25_557_032
    assert network.output_shape == (None, 1000)
    # v1.5: the stride of a bottleneck is in its 3x3 convolution.
    assert network.get_layer("stage2_block1_1_conv").strides == (1, 1)
    assert network.get_layer("stage2_block1_2_conv").strides == (2, 2)


# torchvision's published counts, which have no convolution biases either.
@pytest.mark.parametrize("depth, parameters", [(18, 11689512), (34, 21797672)])
def test_basic_resnets(depth, parameters):
    network = ca.networks.resnet(depth)
    assert count(network.trainable_weights) == parameters


@pytest.mark.parametrize("depth", [20, 56])
@pytest.mark.parametrize("channels", [1, 4])
def test_small_resnets(depth, channels):
    network = ca.networks.resnet_cifar(depth, 7, (8, 8, channels))
    convolutions = [
        layer
        for layer in network.layers
        if isinstance(layer, tf.keras.layers.Conv2D)
        and "shortcut" not in layer.name
    ]
    assert len(convolutions) + 1 == depth  # And the last layer.
    assert network(np.zeros((2, 8, 8, channels))).shape == (2, 7)


# The last gamma of a block is 0, so a block starts as its shortcut.
def test_blocks_start_as_the_identity():
    network = ca.networks.resnet_cifar(8, input_shape=(8, 8, 3))
    stem = network.get_layer("stem_relu").output
    block = network.get_layer("stage1_block1_relu").output
    both = tf.keras.Model(network.input, [stem, block])
    before, after = both(np.random.rand(2, 8, 8, 3))
    np.testing.assert_array_equal(before, after)


def test_normalization_is_inside():
    network = ca.networks.resnet(18, 10, (32, 32, 3), mean=0.5, std=0.25)
    layer = network.get_layer("normalization")
    np.testing.assert_allclose(layer(np.ones((1, 2, 2, 3))), 2.0, rtol=1e-6)


def test_logits_are_float32_in_bfloat16():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        network = ca.networks.resnet_cifar(8)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert network.get_layer("stem_conv").compute_dtype == "bfloat16"
    assert network(np.zeros((1, 32, 32, 3))).dtype == tf.float32


def test_a_mean_of_other_channels():
    with pytest.raises(ValueError, match="each of 1 channels.*mean=None"):
        ca.networks.resnet(18, input_shape=(32, 32, 1))


def test_wrong_depths():
    with pytest.raises(ValueError, match="received 51"):
        ca.networks.resnet(51)
    with pytest.raises(ValueError, match="received 21"):
        ca.networks.resnet_cifar(21)
