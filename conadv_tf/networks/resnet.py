"""ResNet v1.5 for ImageNet, and the three-stage ResNet for small images.

Both use batch norm with momentum 0.9 and epsilon 1e-5, convolutions without
biases, and a gamma of 0 at the end of each residual block, so that a block
starts as the identity (Goyal et al. 2017, arXiv 1706.02677). These are the
hyper-parameters of the paper's runs. Input normalization is a layer of the
network, so that images are pixels in [0, 1] and epsilon is in pixels.
"""

from collections.abc import Sequence
from typing import Any
from typing import Optional
from typing import Union

import numpy as np
import tensorflow as tf

# One number for all channels, one for each channel, or None.
_PerChannel = Union[float, Sequence[float], None]
# Statistics of ImageNet's pixels in [0, 1], by channel.
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
    """Builds ResNet v1.5, with a bottleneck's stride in its 3x3 convolution.

    He et al. 2015 (arXiv 1512.03385); v1.5 is MLPerf's ResNet-50, which has
    25,557,032 trainable parameters for 1000 classes.

    Args:
      depth: 18, 34, 50, 101 or 152.
      num_classes: number of logits.
      input_shape: (height, width, channels); pixels in [0, 1].
      mean: mean of the pixels, one number for each channel or one for all.
        None disables normalization.
      std: standard deviation of the pixels, one number for each channel or
        one for all. Ignored if `mean` is None and `std` is not passed.
      name: model name.

    Returns:
      Functional Keras model, images to float32 logits [batch, num_classes].

    Raises:
      ValueError: if the depth is unknown, if only one of `mean` and `std` is
        None, or if `mean` has another number of channels than the input.

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
    inputs = tf.keras.Input(input_shape, name="images")
    x = _normalize_input(inputs, mean, std)
    x = _conv_norm(x, 64, 7, 2, "stem")
    x = tf.keras.layers.ReLU(name="stem_relu")(x)
    x = tf.keras.layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")(x)
    x = _stages(x, blocks, 64, is_bottleneck)
    outputs = _head(x, num_classes, tf.keras.initializers.RandomNormal(0, 0.01))
    return tf.keras.Model(inputs, outputs, name=name or f"resnet{depth}")


def resnet50(
    num_classes: int = 1000,
    input_shape: tuple[int, int, int] = (224, 224, 3),
    **kwargs: Any,
) -> tf.keras.Model:
    """Builds ResNet-50 v1.5, the paper's network, with `resnet`."""
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
    """Builds a ResNet for small images: three stages of basic blocks.

    He et al. 2015, section 4.2. Shortcuts are projections where the shape
    changes.

    Args:
      depth: 6n + 2, for example 20, 32, 44 or 56.
      num_classes: number of logits.
      input_shape: (height, width, channels), any number of channels; pixels
        in [0, 1].
      width: channels of the first stage, doubled in each of the next two.
      mean: mean of the pixels, one number for each channel or one for all.
        None disables normalization.
      std: standard deviation of the pixels, one number for each channel or
        one for all. None disables normalization.
      name: model name.

    Returns:
      Functional Keras model, images to float32 logits [batch, num_classes].

    Raises:
      ValueError: if the depth is not 6n + 2, if only one of `mean` and `std`
        is None, or if `mean` has another number of channels than the input.

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
    x = _stages(x, 3 * [(depth - 2) // 6], width, is_bottleneck=False)
    outputs = _head(x, num_classes, "he_normal")
    return tf.keras.Model(inputs, outputs, name=name or f"resnet{depth}_cifar")


def _normalize_input(
    inputs: tf.Tensor, mean: _PerChannel, std: _PerChannel
) -> tf.Tensor:
    if mean is None and (std is None or std is IMAGENET_STD):
        return inputs
    if mean is None or std is None:
        raise ValueError(
            f"Expected both mean and std, or neither; received mean={mean!r} "
            f"and std={std!r}. Pass the missing one, or None for both."
        )
    if np.ndim(mean) and np.size(mean) != inputs.shape[-1]:
        raise ValueError(
            f"Expected a mean for each of {inputs.shape[-1]} channels; "
            f"received {mean}. Pass mean and std of your images, or mean=None "
            "to disable normalization."
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


def _stages(
    x: tf.Tensor, blocks: Sequence[int], width: int, is_bottleneck: bool
) -> tf.Tensor:
    """Applies `blocks[i]` residual blocks of `width * 2**i` filters each."""
    for stage, count in enumerate(blocks):
        for index in range(count):
            x = _residual_block(
                x,
                width * 2**stage,
                2 if stage > 0 and index == 0 else 1,
                is_bottleneck,
                f"stage{stage + 1}_block{index + 1}",
            )
    return x


def _residual_block(
    x: tf.Tensor, filters: int, stride: int, is_bottleneck: bool, name: str
) -> tf.Tensor:
    # (filters, kernel size, stride) of each convolution.
    if is_bottleneck:
        layers = [(filters, 1, 1), (filters, 3, stride), (4 * filters, 1, 1)]
    else:
        layers = [(filters, 3, stride), (filters, 3, 1)]
    last, channels = len(layers), layers[-1][0]
    shortcut = x
    if stride > 1 or x.shape[-1] != channels:
        shortcut = _conv_norm(x, channels, 1, stride, f"{name}_shortcut")
    for number, layer in enumerate(layers, start=1):
        x = _conv_norm(x, *layer, f"{name}_{number}", number == last)
        if number < last:
            x = tf.keras.layers.ReLU(name=f"{name}_{number}_relu")(x)
    x = tf.keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return tf.keras.layers.ReLU(name=f"{name}_relu")(x)


def _head(
    x: tf.Tensor,
    num_classes: int,
    initializer: Union[str, tf.keras.initializers.Initializer],
) -> tf.Tensor:
    x = tf.keras.layers.GlobalAveragePooling2D(name="pool")(x)
    # float32 logits under any policy: the loss needs the full mantissa.
    return tf.keras.layers.Dense(
        num_classes,
        kernel_initializer=initializer,
        dtype="float32",
        name="logits",
    )(x)
