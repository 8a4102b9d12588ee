"""The input gradient over blocks is that of the convolution."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.networks import conversion
from conadv_tf.networks import image_gradient
from conadv_tf.networks import image_gradient_of
from conadv_tf.networks import strided_convolution


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides", [(2, 2), (3, 2)])
@pytest.mark.parametrize("kernel_size", [(7, 7), (3, 3), (2, 4), (1, 1)])
@pytest.mark.parametrize("size", [(16, 16), (17, 14)])
def test_equals_the_convolution(size, kernel_size, strides, padding):
    arguments = dict(strides=strides, padding=padding)
    plain = tf.keras.layers.Conv2D(4, kernel_size, **arguments)
    images = tf.random.stateless_normal([2, *size, 3], [1, 2])
    outputs = plain(images)
    factors = tf.random.stateless_normal(outputs.shape, [3, 4])
    expected = gradients(plain, images, factors)
    strided = strided_convolution.StridedConv2D.from_config(plain.get_config())
    strided.build(images.shape)
    strided.set_weights(plain.get_weights())
    compiled = tf.function(gradients, jit_compile=True)
    for value, other in zip(compiled(strided, images, factors), expected):
        np.testing.assert_allclose(value, other, rtol=1e-4, atol=1e-4)


def gradients(layer, images, factors):
    """Outputs, and gradients with respect to images and kernel."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        outputs = layer(images)
    return outputs, *tape.gradient(
        outputs, [images, layer.kernel], output_gradients=factors
    )


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_any_number_of_channels_and_of_images(channels):
    layer = strided_convolution.StridedConv2D(4, 7, 2, padding="same")
    layer.build([None, 18, 17, channels])
    images = tf.TensorSpec([None, 18, 17, channels])
    factors = tf.TensorSpec([None, 9, 9, 4])
    compiled = tf.function(
        lambda *arguments: gradients(layer, *arguments),
        input_signature=[images, factors],
        jit_compile=True,
    )
    for count in (3, 1):
        images = tf.random.stateless_normal([count, 18, 17, channels], [1, 2])
        factors = tf.random.stateless_normal([count, 9, 9, 4], [3, 4])
        for value, other in zip(
            compiled(images, factors), gradients(layer, images, factors)
        ):
            np.testing.assert_allclose(value, other, rtol=1e-4, atol=1e-4)


# Curvature differentiates twice.
def test_second_derivatives():
    layer = strided_convolution.StridedConv2D(4, 7, 2, padding="same")
    images = tf.random.stateless_normal([2, 12, 12, 3], [1, 2])
    direction = tf.random.stateless_normal([2, 12, 12, 3], [3, 4])
    layer.build(images.shape)

    def products(images):
        with tf.GradientTape() as outer:
            outer.watch(images)
            with tf.GradientTape() as tape:
                tape.watch(images)
                value = tf.reduce_sum(tf.tanh(layer(images)))
            gradient = tape.gradient(value, images)
            product = tf.reduce_sum(gradient * direction)
        return outer.gradient(product, [images, layer.kernel])

    compiled = tf.function(products, jit_compile=True)(images)
    for value, other in zip(compiled, products(images)):
        np.testing.assert_allclose(value, other, rtol=1e-4, atol=1e-4)


def test_the_input_gradient_is_a_forward_convolution_into_blocks():
    layer = strided_convolution.StridedConv2D(4, 7, 2, padding="same")
    layer.build([2, 16, 16, 3])
    function = tf.function(gradients, jit_compile=True)
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
    # The outputs, and blocks of 4 by 4 pixels of 3 channels.
    assert shapes == [[2, 8, 8, 4], [2, 4, 4, 48]]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision(policy):
    tf.keras.mixed_precision.set_global_policy(policy)
    images = tf.random.stateless_uniform([2, 16, 16, 3], [1, 2])
    layer = strided_convolution.StridedConv2D(4, 7, 2, padding="same")
    outputs = layer(images)
    factors = tf.cast(
        tf.random.stateless_normal(outputs.shape, [3, 4]), outputs.dtype
    )
    expected = gradients(layer, images, factors)
    compiled = tf.function(gradients, jit_compile=True)(layer, images, factors)
    for value, other in zip(compiled, expected):
        assert value.dtype == other.dtype
        np.testing.assert_allclose(
            tf.cast(value, tf.float32),
            tf.cast(other, tf.float32),
            rtol=0.05,
            atol=0.05,
        )


def test_the_model_has_it_and_the_export_has_not():
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


def test_an_unbuilt_or_unusual_convolution_stays():
    for layer in (
        tf.keras.layers.Conv2D(4, 3, 2, dilation_rate=1),
        built(tf.keras.layers.Conv2D(4, 3, 1)),
        built(tf.keras.layers.Conv2D(4, 3, 2), channels=8),
        built(tf.keras.layers.Conv2D(4, 3, 2, groups=2), channels=2),
        built(tf.keras.layers.DepthwiseConv2D(3, 2)),
    ):
        assert not strided_convolution.is_faster_when_strided(layer)
    assert strided_convolution.is_faster_when_strided(
        built(tf.keras.layers.Conv2D(4, 3, 2))
    )


def built(layer, channels=3):
    layer.build([None, 8, 8, channels])
    return layer


# --- Of some images only ------------------------------------------------------


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


# Weights before the convolution have their gradient through its inputs: one
# of some images only would be wrong, and nothing would show it.
@pytest.mark.parametrize(
    "layers, size, cut",
    [
        (_strided, 6, True),
        (_scaled, 6, True),
        (_strided, 5, False),
        (_trained_before, 6, False),
        (_nested, 6, False),
        (_in_another_order, 6, False),
    ],
)
def test_gradient_of_some_images(layers, size, cut):
    inputs = tf.keras.Input((8, 8, 3))
    plain = tf.keras.Model(inputs, layers(inputs))
    network = conversion.split_with_fast_stem(plain, branches=2)
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
    assert np.any(by_images[3:]) != cut
    assert len(others) == len(expected_others)
    for value, other in zip(others, expected_others):
        np.testing.assert_allclose(value, other, rtol=1e-4, atol=1e-4)


def test_the_choice_ends_with_its_block():
    inputs = tf.zeros([6, 1])
    with image_gradient_of(slice(1, 3), 6):
        with image_gradient_of(None, 6):
            assert image_gradient.wanted(inputs) is None
        assert image_gradient.wanted(inputs) == slice(1, 3)
    assert image_gradient.wanted(inputs) is None
