"""EfficientNet-B0 to B3 of keras.applications, for pixels in [0, 1].

Tan and Le 2019 (arXiv 1905.11946). Layers, names and initializers are Keras's,
so that Keras's weights load by name. Only the first and last layers differ:
images are pixels in [0, 1], normalized by a layer of the network, so that
epsilon is in pixels, and the outputs are logits.
"""

from typing import Any
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf.networks.resnet import IMAGENET_MEAN
from conadv_tf.networks.resnet import IMAGENET_STD

# Variant: (resolution, dropout rate), from the paper's table.
_VARIANTS = {
    "b0": (224, 0.2),
    "b1": (240, 0.2),
    "b2": (260, 0.3),
    "b3": (300, 0.3),
}
EFFICIENTNET_VARIANTS = tuple(_VARIANTS)


def efficientnet(
    variant: str,
    num_classes: int = 1000,
    input_shape: Optional[tuple[int, int, int]] = None,
    dropout_rate: Optional[float] = None,
    drop_connect_rate: float = 0.2,
    name: Optional[str] = None,
) -> tf.keras.Model:
    """Builds an EfficientNet with new weights.

    Parameters for 1000 classes, as Keras counts them: B0 5,330,571; B1
    7,856,239; B2 9,177,569; B3 12,320,535. The counts include the moving
    statistics and the 7 numbers of the "normalization" layer. This layer
    starts with ImageNet's mean and variance; `adapt` computes the statistics
    of other images.

    Differs from `resnet`: batch norm keeps EfficientNet's momentum 0.99 and
    epsilon 1e-3.

    Dropout and stochastic depth (each example skips residual branches) are
    Keras's `Dropout` layers. They draw different random numbers for each half
    of a step's batch, and for another number of replicas.

    Weights of `tf.keras.applications.EfficientNetB*` with the same number of
    classes load with `load_weights("weights.h5", by_name=True)`, including
    the "normalization" layer. In the files published for ImageNet this layer
    has the standard deviation in place of the variance, and Keras corrects it
    in another layer. With such a file, keep this network's statistics: call
    `get_layer("normalization").get_weights()` before loading, and set these
    weights again afterwards.

    Args:
      variant: "b0", "b1", "b2" or "b3".
      num_classes: number of logits.
      input_shape: (height, width, 3), at least 32 x 32; pixels in [0, 1].
        None is the paper's resolution: 224, 240, 260 or 300.
      dropout_rate: dropout rate before the last layer. None is the paper's
        rate: 0.2, 0.2, 0.3 or 0.3.
      drop_connect_rate: rate of stochastic depth at the last block. The rate
        increases linearly from 0 at the first block.
      name: model name.

    Returns:
      Functional Keras model, images to float32 logits [batch, num_classes].

    Raises:
      ValueError: if the variant is unknown, or if the input is too small or
        does not have 3 channels.
    """
    if variant not in _VARIANTS:
        raise ValueError(
            f"Expected variant in {sorted(_VARIANTS)}; received {variant!r}."
        )
    resolution, default_dropout_rate = _VARIANTS[variant]
    if input_shape is None:
        input_shape = (resolution, resolution, 3)
    if len(input_shape) != 3 or input_shape[-1] != 3:
        raise ValueError(
            "Expected input_shape = (height, width, 3); received "
            f"{input_shape!r}. Repeat the channel of grey images three times."
        )
    if dropout_rate is None:
        dropout_rate = default_dropout_rate
    application = getattr(
        tf.keras.applications, f"EfficientNet{variant.upper()}"
    )
    backbone = application(
        include_top=False,
        weights=None,
        input_shape=input_shape,
        drop_connect_rate=drop_connect_rate,
    )
    outputs = _head(backbone.output, num_classes, dropout_rate)
    network = _from_unit_pixels(
        backbone, outputs, name or f"efficientnet_{variant}"
    )
    network.get_layer("normalization").set_weights(
        [np.array(IMAGENET_MEAN), np.square(IMAGENET_STD), np.array(0)]
    )
    return network


def efficientnet_b0(
    num_classes: int = 1000,
    input_shape: Optional[tuple[int, int, int]] = None,
    **kwargs: Any,
) -> tf.keras.Model:
    """Builds EfficientNet-B0 for 224 x 224 images with `efficientnet`."""
    return efficientnet("b0", num_classes, input_shape, **kwargs)


def efficientnet_b1(
    num_classes: int = 1000,
    input_shape: Optional[tuple[int, int, int]] = None,
    **kwargs: Any,
) -> tf.keras.Model:
    """Builds EfficientNet-B1 for 240 x 240 images with `efficientnet`."""
    return efficientnet("b1", num_classes, input_shape, **kwargs)


def efficientnet_b2(
    num_classes: int = 1000,
    input_shape: Optional[tuple[int, int, int]] = None,
    **kwargs: Any,
) -> tf.keras.Model:
    """Builds the paper's EfficientNet-B2 (260 x 260) with `efficientnet`."""
    return efficientnet("b2", num_classes, input_shape, **kwargs)


def efficientnet_b3(
    num_classes: int = 1000,
    input_shape: Optional[tuple[int, int, int]] = None,
    **kwargs: Any,
) -> tf.keras.Model:
    """Builds EfficientNet-B3 for 300 x 300 images with `efficientnet`."""
    return efficientnet("b3", num_classes, input_shape, **kwargs)


def _head(x: tf.Tensor, num_classes: int, dropout_rate: float) -> tf.Tensor:
    """Applies Keras's last layers, with their names, but returns logits."""
    x = tf.keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = tf.keras.layers.Dropout(dropout_rate, name="top_dropout")(x)
    # float32 logits under any policy: the loss needs the full mantissa.
    return tf.keras.layers.Dense(
        num_classes,
        kernel_initializer=tf.keras.initializers.VarianceScaling(
            1 / 3, "fan_out", "uniform"
        ),
        dtype="float32",
        name="predictions",
    )(x)


def _from_unit_pixels(
    backbone: tf.keras.Model, outputs: tf.Tensor, name: str
) -> tf.keras.Model:
    """Returns the part of the network after Keras's Rescaling(1/255)."""
    normalization = next(
        layer
        for layer in backbone.layers
        if isinstance(layer, tf.keras.layers.Normalization)
    )

    def copy(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        if layer is normalization:
            # Keras appends a number to this name from the second network on.
            # float32, because bfloat16 would round pixels, and with them
            # perturbations, to 1/256.
            return tf.keras.layers.Normalization(
                dtype="float32", name="normalization"
            )
        return type(layer).from_config(layer.get_config())

    return tf.keras.models.clone_model(
        tf.keras.Model(normalization.input, outputs, name=name),
        input_tensors=tf.keras.Input(backbone.input_shape[1:], name="images"),
        clone_function=copy,
    )
