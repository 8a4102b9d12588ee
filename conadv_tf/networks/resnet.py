"""ResNets: v1.5 for ImageNet, and the three-stage ones for small images.

Both use batch norm with momentum 0.9 and epsilon 1e-5, no convolution
biases, and a last gamma of 0 in each residual block, so that a block starts
as the identity (Goyal et al. 2017, arXiv 1706.02677): the hyper-parameters of
the paper's runs. Input normalization is a layer of the network, so that
images come in as pixels in [0, 1] and epsilon is in pixels.
"""

from collections.abc import Sequence
from typing import Any
from typing import Optional
from typing import Union

import numpy as np
import tensorflow as tf

# A number for all channels, one for each, or nothing.
_PerChannel = Union[float, Sequence[float], None]
# Of ImageNet's pixels in [0, 1], by channel.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
BATCH_NORM_MOMENTUM = 0.9
BATCH_NORM_EPSILON = 1e-5

# Depth: (blocks per stage, whether blocks are bottlenecks).
_IMAGENET_DEPTHS = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
RESNET_DEPTHS = tuple(_IMAGENET_DEPTHS)


def resnet(
    depth: int,
    num_classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    mean: _PerChannel = IMAGENET_MEAN,
    std: _PerChannel = IMAGENET_STD,
    name: Optional[str] = None,
) -> tf.keras.Model:
    """ResNet v1.5: the stride of a bottleneck is in its 3x3 convolution.

    He et al. 2015 (arXiv 1512.03385); v1.5 is MLPerf's ResNet-50, which has
    25,557,032 trainable parameters for 1000 classes.

    Args:
      depth: 18, 34, 50, 101 or 152.
      num_classes: number of logits.
      input_shape: (height, width, channels); pixels in [0, 1].
      mean: mean of the pixels of each channel, or one for all; None does not
        normalize.
      std: standard deviation, likewise.
      name: model name.

    Returns:
      Functional Keras model, images to float32 logits [batch, num_classes].

    Raises:
      ValueError: if the depth is unknown.

    Example:
      >>> network = ca.networks.resnet(18, num_classes=10)
      >>> network.input_shape, network.output_shape
      ((None, 224, 224, 3), (None, 10))
    """
    if depth not in _IMAGENET_DEPTHS:
        raise ValueError(
            f"Expected depth in {sorted(_IMAGENET_DEPTHS)}; received {depth!r}."
        )
    blocks, is_bottleneck = _IMAGENET_DEPTHS[depth]
    block = _bottleneck_block if is_bottleneck else _basic_block
    inputs = tf.keras.Input(input_shape, name="images")
    x = _normalize_input(inputs, mean, std)
    x = _conv_norm(x, 64, 7, 2, "stem")
    x = tf.keras.layers.ReLU(name="stem_relu")(x)
    x = tf.keras.layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
    for stage, count in enumerate(blocks):
        for index in range(count):
            stride = 2 if stage > 0 and index == 0 else 1
            x = block(
                x, 64 * 2**stage, stride, f"stage{stage + 1}_block{index + 1}"
            )
    outputs = _head(x, num_classes, tf.keras.initializers.RandomNormal(0, 0.01))
    return tf.keras.Model(inputs, outputs, name=name or f"resnet{depth}")


def resnet50(
    num_classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    **kwargs: Any,
) -> tf.keras.Model:
    """ResNet-50 v1.5, the paper's network; see `resnet`."""
    return resnet(50, num_classes, input_shape, **kwargs)


def resnet_cifar(
    depth: int = 20,
    num_classes: int = 10,
    input_shape: tuple[int, int, int] = (32, 32, 3),
    width: int = 16,
    mean: _PerChannel = None,
    std: _PerChannel = None,
    name: Optional[str] = None,
) -> tf.keras.Model:
    """ResNet for small images: three stages of basic blocks.

    He et al. 2015, section 4.2; shortcuts are projections where the shape
    changes.

    Args:
      depth: 6n + 2: 20, 32, 44, 56, ...
      num_classes: number of logits.
      input_shape: (height, width, channels), any number of channels; pixels
        in [0, 1].
      width: channels of the first stage; doubled in each of the next two.
      mean: see `resnet`.
      std: see `resnet`.
      name: model name.

    Returns:
      Functional Keras model, images to float32 logits [batch, num_classes].

    Raises:
      ValueError: if the depth is not 6n + 2.

    Example:
      >>> network = ca.networks.resnet_cifar(8, width=4)
      >>> [layer.filters for layer in network.layers if "1_conv" in layer.name]
      [4, 8, 16]
    """
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(
            "Expected depth = 6n + 2, for example 20, 32, 44 or 56; received "
            f"{depth!r}."
        )
    inputs = tf.keras.Input(input_shape, name="images")
    x = _normalize_input(inputs, mean, std)
    x = _conv_norm(x, width, 3, 1, "stem")
    x = tf.keras.layers.ReLU(name="stem_relu")(x)
    for stage in range(3):
        for index in range((depth - 2) // 6):
            stride = 2 if stage > 0 and index == 0 else 1
            x = _basic_block(
                x,
                width * 2**stage,
                stride,
                f"stage{stage + 1}_block{index + 1}",
            )
    outputs = _head(x, num_classes, "he_normal")
    return tf.keras.Model(inputs, outputs, name=name or f"resnet{depth}_cifar")


def _normalize_input(
    inputs: tf.Tensor, mean: _PerChannel, std: _PerChannel
) -> tf.Tensor:
    if mean is None and (std is None or std is IMAGENET_STD):
        return inputs
    if mean is None or std is None:
        raise ValueError(
            "Expected mean and std, or neither of them; received "
            f"mean={mean!r} and std={std!r}."
        )
    if np.ndim(mean) and np.size(mean) != inputs.shape[-1]:
        raise ValueError(
            f"Expected a mean for each of {inputs.shape[-1]} channels; "
            f"received {mean}. Pass mean and std of your images, or mean=None "
            "to leave them as they are."
        )
    variance = tf.nest.map_structure(lambda value: value**2, std)
    return tf.keras.layers.Normalization(
        mean=mean, variance=variance, name="normalization"
    )(inputs)


def _conv_norm(
    x: tf.Tensor,
    filters: int,
    size: int,
    stride: int,
    name: str,
    zero_gamma: bool = False,
) -> tf.Tensor:
    x = tf.keras.layers.Conv2D(
        filters,
        size,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    return tf.keras.layers.BatchNormalization(
        momentum=BATCH_NORM_MOMENTUM,
        epsilon=BATCH_NORM_EPSILON,
        gamma_initializer="zeros" if zero_gamma else "ones",
        name=f"{name}_norm",
    )(x)


def _shortcut(x: tf.Tensor, filters: int, stride: int, name: str) -> tf.Tensor:
    if stride == 1 and x.shape[-1] == filters:
        return x
    return _conv_norm(x, filters, 1, stride, f"{name}_shortcut")


def _basic_block(
    x: tf.Tensor, filters: int, stride: int, name: str
) -> tf.Tensor:
    shortcut = _shortcut(x, filters, stride, name)
    x = _conv_norm(x, filters, 3, stride, f"{name}_1")
    x = tf.keras.layers.ReLU(name=f"{name}_1_relu")(x)
    x = _conv_norm(x, filters, 3, 1, f"{name}_2", zero_gamma=True)
    x = tf.keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return tf.keras.layers.ReLU(name=f"{name}_relu")(x)


def _bottleneck_block(
    x: tf.Tensor, filters: int, stride: int, name: str
) -> tf.Tensor:
    shortcut = _shortcut(x, 4 * filters, stride, name)
    x = _conv_norm(x, filters, 1, 1, f"{name}_1")
    x = tf.keras.layers.ReLU(name=f"{name}_1_relu")(x)
    x = _conv_norm(x, filters, 3, stride, f"{name}_2")
    x = tf.keras.layers.ReLU(name=f"{name}_2_relu")(x)
    x = _conv_norm(x, 4 * filters, 1, 1, f"{name}_3", zero_gamma=True)
    x = tf.keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return tf.keras.layers.ReLU(name=f"{name}_relu")(x)


def _head(
    x: tf.Tensor,
    num_classes: int,
    initializer: Union[str, tf.keras.initializers.Initializer],
) -> tf.Tensor:
    x = tf.keras.layers.GlobalAveragePooling2D(name="pool")(x)
    # float32 logits whatever the policy: the loss needs the mantissa.
    return tf.keras.layers.Dense(
        num_classes,
        kernel_initializer=initializer,
        dtype="float32",
        name="logits",
    )(x)
