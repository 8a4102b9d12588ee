"""EfficientNet: Keras's layers and weights, pixels in [0, 1], logits."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca

SHAPE = (32, 32, 3)
MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


def _images(size=2):
    rng = np.random.default_rng(1)
    return rng.uniform(size=(size, *SHAPE)).astype(np.float32)


@functools.cache
def _made_by_keras(variant):
    """Keras's network, and weights as after training."""
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
    # Moving statistics of real images, so that images make a difference at
    # the other end, and rounding none.
    network(255 * _images(16), training=True)
    return network, network.get_weights()


def _keras_network(variant):
    """Keras's network, whatever other tests did to its weights."""
    network, weights = _made_by_keras(variant)
    network.set_weights(weights)
    return network


def _check_equal(ours, theirs):
    logits = theirs(255 * _images())
    assert np.any(np.abs(logits - theirs(_images())) > 0.1)
    np.testing.assert_allclose(ours(_images()), logits, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    "variant, resolution, parameters, trainable",
    [
        pytest.param("b0", 224, 5330571, 5288548, marks=pytest.mark.slow),
        pytest.param("b1", 240, 7856239, 7794184, marks=pytest.mark.slow),
        ("b2", 260, 9177569, 9109994),
        pytest.param("b3", 300, 12320535, 12233232, marks=pytest.mark.slow),
    ],
)
def test_parameters_are_as_many_as_in_keras(
    variant, resolution, parameters, trainable
):
    network = getattr(ca.networks, f"efficientnet_{variant}")()
    assert network.count_params() == parameters
    counted = [w.shape.num_elements() for w in network.trainable_weights]
    assert sum(counted) == trainable
    assert network.input_shape == (None, resolution, resolution, 3)
    assert network.output_shape == (None, 1000)
    assert network.name == f"efficientnet_{variant}"


# By name: also after another network has taken the plain layer names.
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


# The published files hold the standard deviation where the variance belongs.
def test_published_weights_load_with_our_own_normalization(tmp_path):
    theirs = _keras_network("b0")
    normalization = theirs.get_layer("normalization")
    normalization.set_weights([MEAN, STD, np.array(0)])
    theirs.save_weights(tmp_path / "weights.h5")
    normalization.set_weights([MEAN, STD**2, np.array(0)])
    ours = ca.networks.efficientnet_b0(5, SHAPE)
    layer = ours.get_layer("normalization")
    own = layer.get_weights()
    ours.load_weights(tmp_path / "weights.h5", by_name=True)
    layer.set_weights(own)
    _check_equal(ours, theirs)


@pytest.fixture(scope="module")
def dropping():
    """A network that drops much and computes in bfloat16."""
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        return ca.networks.efficientnet_b0(
            5, SHAPE, dropout_rate=0.4, drop_connect_rate=0.9
        )
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")


def test_ends_of_the_network_in_bfloat16(dropping):
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


def test_rate_of_stochastic_depth_rises_to_the_one_given(dropping):
    rates = [
        layer.rate
        for layer in dropping.layers
        if layer.name.startswith("block") and layer.name.endswith("_drop")
    ]
    assert rates == sorted(rates)
    assert rates[-1] == pytest.approx(0.9 * 14 / 16)  # 15th of 16 blocks.


# Identical images part at the first residual branch that one half drops.
def test_halves_of_a_batch_drop_different_branches_and_units(dropping):
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


def test_wrong_arguments():
    with pytest.raises(ValueError, match="received 'b9'"):
        ca.networks.efficientnet("b9")
    with pytest.raises(ValueError, match=r"received \(32, 32, 1\)"):
        ca.networks.efficientnet_b0(5, (32, 32, 1))
    with pytest.raises(ValueError, match="at least 32x32"):
        ca.networks.efficientnet_b0(5, (8, 8, 3))
