"""Small networks and batches for tests."""

import numpy as np
import tensorflow as tf

CLASSES = 3
LOSS = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def convolutional(batch_norm=True, shape=(6, 6, 1), num_classes=CLASSES):
    """Convolution, batch norm, ReLU, residual block, pool, logits."""
    inputs = tf.keras.Input(shape)
    x = tf.keras.layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs)
    if batch_norm:
        x = tf.keras.layers.BatchNormalization(momentum=0.9)(x)
    x = shortcut = tf.keras.layers.ReLU()(x)
    x = tf.keras.layers.Conv2D(4, 3, padding="same", use_bias=True)(x)
    if batch_norm:
        x = tf.keras.layers.BatchNormalization(momentum=0.9)(x)
    x = tf.keras.layers.Add()([x, shortcut])
    x = tf.keras.layers.GlobalAveragePooling2D()(x)
    outputs = tf.keras.layers.Dense(num_classes)(x)
    return tf.keras.Model(inputs, outputs)


def small(num_classes=CLASSES, strides=1, **arguments):
    """Convolution, batch norm, ReLU, pool, logits.

    The smallest network with a batch norm. Tracing a step takes half the time
    of `convolutional`.

    Args:
      num_classes: number of logits.
      strides: strides of the convolution.
      **arguments: arguments of the batch norm.
    """
    arguments = {"momentum": 0.9, **arguments}
    inputs = tf.keras.Input((6, 6, 1))
    x = tf.keras.layers.Conv2D(4, 3, strides, use_bias=False)(inputs)
    x = tf.keras.layers.BatchNormalization(**arguments)(x)
    x = tf.keras.layers.GlobalAveragePooling2D()(tf.keras.layers.ReLU()(x))
    return tf.keras.Model(inputs, tf.keras.layers.Dense(num_classes)(x))


def linear(shape=(2, 2, 1), num_classes=CLASSES):
    """Softmax regression: logits = W x + b."""
    inputs = tf.keras.Input(shape)
    x = tf.keras.layers.Flatten()(inputs)
    outputs = tf.keras.layers.Dense(num_classes, bias_initializer="normal")(x)
    return tf.keras.Model(inputs, outputs)


def batches(
    count,
    size=8,
    shape=(6, 6, 1),
    num_classes=CLASSES,
    seed=0,
    value_range=(0.0, 1.0),
):
    """Returns a list of NumPy batches: (float32 images, int64 labels)."""
    rng = np.random.default_rng(seed)
    return [
        (
            rng.uniform(*value_range, size=(size, *shape)).astype(np.float32),
            rng.integers(num_classes, size=size),
        )
        for _ in range(count)
    ]


def batch(size=8, value_range=(0.0, 1.0), shape=(2, 2, 1)):
    """Returns one batch, by default with images for `linear`."""
    return batches(1, size, shape, value_range=value_range)[0]


def dataset(data):
    """Returns a tf.data.Dataset that yields the batches in order."""
    images = np.concatenate([x for x, _ in data])
    labels = np.concatenate([y for _, y in data])
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(
        len(data[0][0]), drop_remainder=len(data[0][0]) == len(data[-1][0])
    )


def softmax(logits):
    """NumPy, [examples, classes]."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def assert_same_weights(one, two, rtol=0.0, atol=0.0):
    """Compares two networks, or models with a `network`."""
    one, two = (getattr(each, "network", each) for each in (one, two))
    assert len(one.weights) == len(two.weights)
    for weight, wanted in zip(one.weights, two.weights):
        np.testing.assert_allclose(
            weight.numpy(), wanted.numpy(), rtol, atol, err_msg=weight.name
        )


def weights(network):
    """Returns a flat NumPy copy of all weights."""
    return np.concatenate([w.ravel() for w in network.get_weights()])
