"""Networks that take images of any size."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.attacks import attack_ops
from tests import models
from tests import networks
from tests.marks import slow


def _open_network():
    images = tf.keras.Input((None, None, 1))
    features = tf.keras.layers.Conv2D(4, 3)(images)
    features = tf.keras.layers.BatchNormalization()(features)
    features = tf.keras.layers.GlobalAveragePooling2D()(features)
    logits = tf.keras.layers.Dense(networks.CLASSES)(features)
    return tf.keras.Model(images, logits)


def _batch(size):
    return networks.batches(1, shape=(size, size, 1))[0]


# Without support for open sizes, the draws of random starts raise a TypeError
# about int and NoneType.
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_starts_equal_the_ones_of_a_known_size(norm):
    seed = tf.constant([3, 4], tf.int64)

    def draw(images):
        return attack_ops.random_start(images, 0.1, norm, 0.8, seed)

    images, _ = _batch(5)
    unknown = tf.TensorSpec([None, None, None, None])
    np.testing.assert_allclose(
        tf.function(draw, input_signature=[unknown])(images),
        draw(tf.constant(images)),
        rtol=1e-6,
    )


@pytest.mark.parametrize("method", [slow("disadv"), "conadv"])
def test_batches_of_several_sizes(method):
    model = models.build(method, _open_network())
    for size in (6, 8, 6):
        logs = model.train_on_batch(*_batch(size), return_dict=True)
        assert np.isfinite(logs["loss"])
    assert model.optimizer.iterations == 3

    def generate():
        yield from map(_batch, (5, 7, 9))

    signature = (
        tf.TensorSpec([8, None, None, 1]),
        tf.TensorSpec([8], tf.int64),
    )
    data = tf.data.Dataset.from_generator(generate, output_signature=signature)
    for _ in range(2):
        model.fit(data, verbose=0)
    assert model.optimizer.iterations == 9


# Images that are concatenated for one pass must have the same size.
def test_a_shared_pass_refuses_several_sizes():
    model = models.build(ca.SharedPass(), _open_network())
    model.train_on_batch(*_batch(6))
    with pytest.raises(ValueError, match="images of one shape"):
        model.train_on_batch(*_batch(8))
    data = tf.data.Dataset.from_tensors(_batch(6)).map(
        lambda x, y: (
            tf.ensure_shape(
                tf.py_function(lambda x: x, [x], tf.float32), [8, None, None, 1]
            ),
            y,
        )
    )
    with pytest.raises(ValueError, match=r"ca.Concurrent\(...\), which takes"):
        model.fit(data, verbose=0)


class Batches(tf.keras.utils.Sequence):
    """Keras leaves all dimensions of its batches open."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        images, labels = networks.batches(3)[index]
        return images, np.eye(networks.CLASSES, dtype=np.float32)[labels]


# It was refused, although the network fixes the size.
def test_a_shared_pass_takes_a_generator():
    loss = tf.keras.losses.CategoricalCrossentropy(from_logits=True)
    one, several = (models.build(ca.SharedPass(), loss=loss) for _ in range(2))
    several.set_weights(one.get_weights())
    one.fit(Batches(), shuffle=False, verbose=0)
    batches = tf.data.Dataset.from_tensor_slices(
        tuple(map(np.concatenate, zip(*(Batches()[i] for i in range(3)))))
    )
    several.fit(batches.batch(8), verbose=0)
    assert one.runner.has_pending()
    networks.assert_same_weights(one, several)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_error_names_xla_only_if_it_is_the_reason(jit_compile):
    model = models.build(network=_open_network(), jit_compile=jit_compile)
    images, labels = _batch(6)
    model.train_on_batch(images, labels)
    weights = None if jit_compile else np.ones(8, np.float32)
    count = 4 if jit_compile else 8
    with pytest.raises(ValueError, match="was pending") as error:
        model.train_on_batch(images[:count], labels[:count], weights)
    assert ("jit_compile=True" in str(error.value)) == jit_compile
