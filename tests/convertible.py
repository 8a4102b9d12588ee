"""Networks in which a copy easily loses state, flags or shared layers."""

import numpy as np
import tensorflow as tf

import conadv_tf as ca

layers = tf.keras.layers
SHAPE = (6, 6, 2)
BATCH_NORMS = (
    layers.BatchNormalization,
    layers.experimental.SyncBatchNormalization,
)


def images(size=4):
    return np.random.default_rng(1).uniform(size=(size, *SHAPE)).astype("f4")


def residual():
    inputs = tf.keras.Input(SHAPE)
    x = shortcut = layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs)
    x = layers.BatchNormalization(momentum=0.9, name="norm_a")(x)
    x = layers.ReLU()(x)
    x = layers.Conv2D(4, 3, padding="same")(x)
    x = layers.BatchNormalization(epsilon=1e-5, scale=False, name="norm_b")(x)
    x = layers.Add()([shortcut, x])
    x = layers.GlobalAveragePooling2D()(x)
    return tf.keras.Model(inputs, layers.Dense(3)(x), name="residual")


def nested():
    """A block that calls one batch norm twice and is called twice."""
    block_inputs = tf.keras.Input((6, 6, 2))
    norm = layers.BatchNormalization(name="shared_norm")
    x = norm(block_inputs)
    x = layers.ReLU()(x)
    x = layers.Conv2D(2, 1)(norm(x))
    block = tf.keras.Model(block_inputs, x, name="block")
    wrapper_inputs = tf.keras.Input((6, 6, 2))
    x = layers.BatchNormalization(name="wrapper_norm")(block(wrapper_inputs))
    wrapper = tf.keras.Model(wrapper_inputs, x, name="wrapper")
    inputs = tf.keras.Input(SHAPE)
    x = layers.Add()([wrapper(inputs), block(inputs)])
    x = layers.Flatten()(x)
    return tf.keras.Model(inputs, layers.Dense(3)(x), name="nested")


def sequential():
    return tf.keras.Sequential(
        [
            tf.keras.Input(SHAPE),
            layers.Conv2D(3, 3),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dense(3),
        ],
        name="sequential",
    )


def sequential_with_batch_norm_first():
    return tf.keras.Sequential(
        [
            layers.BatchNormalization(input_shape=SHAPE),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def frozen():
    """Frozen layers, a frozen model with a trainable layer, training=False."""
    inputs = tf.keras.Input(SHAPE)
    x = layers.BatchNormalization(name="frozen_norm", trainable=False)(inputs)
    x = layers.BatchNormalization(name="inference_norm")(x, training=False)
    part_inputs = tf.keras.Input((6, 6, 2))
    y = layers.Conv2D(2, 1, name="frozen_conv")(part_inputs)
    y = layers.BatchNormalization(name="thawed_norm")(y)
    part = tf.keras.Model(part_inputs, y, name="part")
    part.trainable = False
    part.get_layer("thawed_norm").trainable = True
    x = part(x, training=False)
    inner = layers.Dense(3, name="inner", trainable=False)
    x = layers.TimeDistributed(inner, name="wrapper")(x)
    x = layers.Dense(3)(layers.Flatten()(x))
    return tf.keras.Model(inputs, x, name="frozen")


def with_other_layers():
    """Layers whose state or function a copy easily loses."""
    normalize = layers.Normalization(name="adapted")
    normalize.adapt(3.0 + 2.0 * images(32))
    offset = 0.25
    inputs = tf.keras.Input(SHAPE)
    x = layers.Lambda(lambda v: tf.abs(v) + offset, name="function")(inputs)
    x = normalize(x)
    x = layers.BatchNormalization()(x)
    x = tf.nn.relu(x) * 2.0
    x = layers.Dropout(0.5, name="drop")(x)
    x = layers.Flatten()(x)
    return tf.keras.Model(inputs, layers.Dense(3)(x), name="other")


def already_split():
    return ca.split_batch_norm(residual())


def synchronized():
    inputs = tf.keras.Input(SHAPE)
    x = layers.BatchNormalization(synchronized=True)(inputs)
    x = layers.experimental.SyncBatchNormalization()(x)
    return tf.keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


PLAIN = [
    residual,
    nested,
    sequential,
    sequential_with_batch_norm_first,
    frozen,
    with_other_layers,
]


def make(factory):
    """Returns a network with different weights in every batch norm."""
    network = factory()
    rng = np.random.default_rng(0)
    for layer in network._flatten_layers():
        if isinstance(layer, BATCH_NORMS):
            layer.set_weights(
                [rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()]
            )
    return network


def all_layers(network):
    """Returns all layers, also nested ones, without branches of batch norms."""
    branches = {
        id(branch)
        for layer in network._flatten_layers()
        if isinstance(layer, ca.SplitBatchNormalization)
        for branch in layer.branch_layers
    }
    return [
        layer
        for layer in network._flatten_layers(include_self=False)
        if id(layer) not in branches
    ]


def norms(network, kind):
    return [layer for layer in all_layers(network) if isinstance(layer, kind)]
