"""Attacks on networks in any mode, precision and form of execution."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import distances
from tests import networks
from tests.marks import slow


def test_keras_model_runs_in_inference_mode_and_is_not_changed():
    network = networks.convolutional()
    rng = np.random.default_rng(0)
    network.set_weights(
        [w + rng.uniform(0.1, 0.5, w.shape) for w in network.get_weights()]
    )
    before = network.get_weights()
    images, labels = networks.batch(shape=(6, 6, 1))
    attack = ca.FGSM(0.1)
    adversarial = attack(network, images, labels, seed=0).numpy()

    def run(training):
        return attack(
            lambda x: network(x, training=training), images, labels, seed=0
        ).numpy()

    np.testing.assert_array_equal(adversarial, run(training=False))
    for weight, old in zip(network.get_weights(), before):
        np.testing.assert_array_equal(weight, old)
    assert (adversarial != run(training=True)).any()


# Between 0.5 and 1, bfloat16 numbers are 2**-8 apart. A step of 0.001 would
# vanish or double if the attack computed in the network's dtype.
def test_bfloat16_network_gets_float32_perturbations():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    network = networks.linear()
    assert network(np.zeros([1, 2, 2, 1], np.float32)).dtype == tf.bfloat16
    images, labels = networks.batch(value_range=(0.5, 0.99))
    adversarial = ca.FGSM(0.001)(network, images, labels, seed=0)
    assert adversarial.dtype == tf.float32
    np.testing.assert_allclose(
        np.abs(adversarial.numpy() - images), 0.001, atol=distances.ROUNDING
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targeted", [None, "random"])
@pytest.mark.parametrize(
    "jit_compile, batch_size",
    [(False, None), (True, 8), slow(False, 8), slow(True, None)],
)
def test_inside_tf_function_equals_eager(
    norm, targeted, jit_compile, batch_size
):
    network = networks.linear()
    images, labels = networks.batch()
    attack = ca.PGD(
        0.1,
        step_size=0.05,
        num_steps=2,
        random_start=0.8,
        norm=norm,
        targeted=targeted,
    )

    @tf.function(
        jit_compile=jit_compile,
        input_signature=[
            tf.TensorSpec([batch_size, 2, 2, 1]),
            tf.TensorSpec([batch_size], tf.int64),
        ],
    )
    def compiled(images, labels):
        return attack(network, images, labels, seed=[0, 1])

    # Random bits are equal. XLA fuses multiplications and additions, which
    # changes the last bits, for L2 in the inverse normal distribution.
    np.testing.assert_allclose(
        compiled(images, labels),
        attack(network, images, labels, seed=[0, 1]),
        atol=2e-6,
    )


def test_no_gradient_flows_through_the_result():
    network = networks.linear()
    images, labels = networks.batch()
    with tf.GradientTape() as tape:
        adversarial = ca.FGSM(0.1)(network, images, labels, seed=0)
        loss = tf.reduce_sum(adversarial)
    assert tape.gradient(loss, network.trainable_variables) == [None, None]
