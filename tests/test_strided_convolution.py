"""The input gradient over blocks equals the convolution's input gradient."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.networks import image_gradient
from conadv_tf.networks import image_gradient_of
from conadv_tf.networks import strided_convolution
from tests.marks import slow


def _strided_layer(input_shape, kernel_size=7, strides=2, padding="same"):
    layer = strided_convolution.StridedConv2D(
        4, kernel_size, strides, padding=padding
    )
    layer.build(input_shape)
    return layer


def _gradients(layer, images, factors):
    """Outputs, and gradients with respect to images and kernel."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images)
    return outputs, *tape.gradient(
        outputs, [images, layer.kernel], output_gradients=factors
    )


def _data(input_shape, output_shape):
    """Images and gradients with respect to the outputs."""
    images = tf.random.stateless_normal(input_shape, [1, 2])
    return images, tf.random.stateless_normal(output_shape, [3, 4])


def _assert_close(values, expected, tolerance=1e-4):
    assert len(values) == len(expected)
    for value, other in zip(values, expected):
        assert value.dtype == other.dtype
        value, other = (tf.cast(each, tf.float32) for each in (value, other))
        np.testing.assert_allclose(value, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides", [(2, 2), (3, 2)])
@pytest.mark.parametrize("kernel_size", [(7, 7), (3, 3), (2, 4), (1, 1)])
@pytest.mark.parametrize("size", [slow((16, 16)), (17, 14)])
def test_equals_the_convolution(size, kernel_size, strides, padding):
    strided = _strided_layer([2, *size, 3], kernel_size, strides, padding)
    plain = tf.keras.layers.Conv2D.from_config(strided.get_config())
    plain.build([2, *size, 3])
    plain.set_weights(strided.get_weights())
    data = _data([2, *size, 3], plain.compute_output_shape([2, *size, 3]))
    compiled = tf.function(_gradients, jit_compile=True)
    _assert_close(compiled(strided, *data), _gradients(plain, *data))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_any_number_of_channels_and_of_images(channels):
    layer = _strided_layer([None, 18, 17, channels])
    compiled = tf.function(
        lambda *arguments: _gradients(layer, *arguments),
        input_signature=[
            tf.TensorSpec([None, 18, 17, channels]),
            tf.TensorSpec([None, 9, 9, 4]),
        ],
        jit_compile=True,
    )
    for count in (3, 1):
        data = _data([count, 18, 17, channels], [count, 9, 9, 4])
        _assert_close(compiled(*data), _gradients(layer, *data))


# `analysis` computes curvature from second derivatives.
def test_second_derivatives():
    images, direction = _data([2, 12, 12, 3], [2, 12, 12, 3])
    layer = _strided_layer(images.shape)

    def products(images):
        with tf.GradientTape() as outer:
            outer.watch(images)
            with tf.GradientTape() as tape:
                tape.watch(images)
                value = tf.reduce_sum(tf.tanh(layer(images)))
            gradient = tape.gradient(value, images)
            product = tf.reduce_sum(gradient * direction)
        return outer.gradient(product, [images, layer.kernel])

    compiled = tf.function(products, jit_compile=True)
    _assert_close(compiled(images), products(images))


def test_the_input_gradient_is_a_forward_convolution_into_blocks():
    layer = _strided_layer([2, 16, 16, 3])
    function = tf.function(_gradients, jit_compile=True)
    graph = function.get_concrete_function(
        layer, tf.zeros([2, 16, 16, 3]), tf.zeros([2, 8, 8, 4])
    ).graph
    operations = graph.get_operations()
    assert "Conv2DBackpropInput" not in {each.type for each in operations}
    shapes = [
        each.outputs[0].shape.as_list()
        for each in operations
        if each.type == "Conv2D"
    ]
    # The outputs, and blocks of 4 by 4 pixels with 3 channels.
    assert shapes == [[2, 8, 8, 4], [2, 4, 4, 48]]


def _signs(shape, seed):
    return tf.cast(
        tf.random.stateless_uniform(shape, seed, -1, 2, tf.int32), tf.float32
    )


# All factors are -1, 0 or 1, and a value sums 147 products at most. Integers up
# to 256 have no rounding error in bfloat16, so a processor may add in any order
# and in any precision.
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision(policy):
    images = _signs([2, 16, 16, 3], [1, 2])
    factors = _signs([2, 8, 8, 4], [3, 4])
    plain = tf.keras.layers.Conv2D(4, 7, 2, padding="same")
    plain.build(images.shape)
    plain.set_weights([_signs([7, 7, 3, 4], [5, 6]), np.zeros(4)])
    expected = _gradients(plain, images, factors)

    tf.keras.mixed_precision.set_global_policy(policy)
    layer = _strided_layer(images.shape)
    layer.set_weights(plain.get_weights())
    compiled = tf.function(_gradients, jit_compile=True)
    found = compiled(layer, images, tf.cast(factors, layer.compute_dtype))
    assert found[0].dtype == layer.compute_dtype
    for value, exact in zip(found, expected):
        assert np.abs(exact).max() > 10
        np.testing.assert_array_equal(tf.cast(value, tf.float32), exact)


def test_the_model_has_the_layer_and_the_exported_network_has_not():
    network = ca.networks.resnet(18, 10, (32, 32, 3))
    model = ca.ConAdvModel(network, ca.PGD(0.1))
    stem = model.network.get_layer("stem_conv")
    assert isinstance(stem, strided_convolution.StridedConv2D)
    assert not isinstance(
        model.network.get_layer("stage2_block1_1_conv"),
        strided_convolution.StridedConv2D,
    )
    exported = model.export_network().get_layer("stem_conv")
    assert type(exported) is tf.keras.layers.Conv2D
    np.testing.assert_array_equal(exported.kernel, stem.kernel)
    assert [weight.name for weight in exported.weights] == [
        weight.name for weight in network.get_layer("stem_conv").weights
    ]


@pytest.mark.parametrize(
    "layer, channels, is_faster",
    [
        (tf.keras.layers.Conv2D(4, 3, 2), None, False),  # Not built.
        (tf.keras.layers.Conv2D(4, 3, 1), 3, False),
        (tf.keras.layers.Conv2D(4, 3, 2), 8, False),
        (tf.keras.layers.Conv2D(4, 3, 2, groups=2), 2, False),
        (tf.keras.layers.DepthwiseConv2D(3, 2), 3, False),
        (tf.keras.layers.Conv2D(4, 3, 2), 3, True),
    ],
)
def test_which_layers_are_faster_when_strided(layer, channels, is_faster):
    if channels:
        layer.build([None, 8, 8, channels])
    assert strided_convolution.is_faster_when_strided(layer) == is_faster


# --- The gradient with respect to some images only ----------------------------


def _strided(inputs):
    return tf.keras.layers.Conv2D(4, 3, 2, padding="same")(inputs)


def _trained_before(inputs):
    return _strided(tf.keras.layers.Conv2D(3, 3, padding="same")(inputs))


def _nested(inputs):
    images = tf.keras.Input((8, 8, 3))
    inner = tf.keras.Model(images, _strided(images))
    return inner(tf.keras.layers.Conv2D(3, 3, padding="same")(inputs))


def _in_another_order(inputs):
    return _strided(tf.keras.layers.Lambda(lambda x: x[::-1])(inputs))


def _scaled(inputs):
    return _strided(tf.keras.layers.Normalization(mean=0.5, variance=2)(inputs))


# Weights before the convolution receive their gradient through its inputs. The
# gradient of some images only would be silently wrong for them.
@pytest.mark.parametrize(
    "layers, size, is_cut",
    [
        (_strided, 6, True),
        (_scaled, 6, True),
        (_strided, 5, False),
        (_trained_before, 6, False),
        (_nested, 6, False),
        (_in_another_order, 6, False),
    ],
)
def test_gradient_of_some_images(layers, size, is_cut):
    inputs = tf.keras.Input((8, 8, 3))
    plain = tf.keras.Model(inputs, layers(inputs))
    network = ca.networks.split_for_training(plain, branches=2)
    images = tf.random.stateless_normal([6, 8, 8, 3], [1, 2])

    def gradients(network):
        with tf.GradientTape() as tape:
            tape.watch(images)
            with image_gradient_of(slice(1, 3), size):
                value = tf.reduce_sum(tf.tanh(network(images)))
        return tape.gradient(value, [images, *network.trainable_variables])

    by_images, *others = tf.function(gradients, jit_compile=True)(network)
    expected, *expected_others = gradients(plain)
    np.testing.assert_allclose(by_images[1:3], expected[1:3], atol=1e-5)
    assert np.any(by_images[3:]) != is_cut
    _assert_close(others, expected_others)


def test_the_request_ends_with_its_context():
    inputs = tf.zeros([6, 1])
    with image_gradient_of(slice(1, 3), 6):
        with image_gradient_of(None, 6):
            assert image_gradient.requested_images(inputs) is None
        assert image_gradient.requested_images(inputs) == slice(1, 3)
    assert image_gradient.requested_images(inputs) is None
