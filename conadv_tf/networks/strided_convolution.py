"""Convolutions over images whose input gradient is fast on a TPU.

An attack needs the gradient with respect to the images, which is the input
gradient of a network's first convolution. In most ImageNet networks that
convolution has a stride of 2 and three input channels, and a TPU spends a
fifth of the attack on its input gradient: the gradient has 3 channels on
hardware that is 128 channels wide, and the stride leaves holes between its
inputs. Computed over blocks of 4 by 4 pixels, it is a dense convolution with
48 output channels. The forward pass and the kernel gradient gain nothing from
blocks and do not change.
"""

from collections.abc import Callable
import typing
from typing import Any
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.networks import image_gradient

_MAX_CHANNELS = 4
# Strides per block. Larger blocks use more channels of the hardware, but need
# more zeros in the kernel and more pieces to assemble.
_STRIDES_PER_BLOCK = 2


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
class StridedConv2D(tf.keras.layers.Conv2D):
    """Keras's `Conv2D`, with the input gradient over blocks under XLA.

    Config, variables and outputs are the same as for `Conv2D`, and the input
    gradient is equal to float tolerance. `ca.ConAdvModel` uses this layer for
    the convolutions that it speeds up, and `ConAdvModel.export_network`
    restores `Conv2D`.

    Attributes:
      reads_images: whether the input gradient is used for the images only, so
        that `image_gradient_of` applies to it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reads_images = False

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Computes the convolution without bias and activation."""
        if not keras_internals.is_compiled_by_xla() or None in inputs.shape[1:]:
            return super().convolution_op(inputs, kernel)
        images = None
        if self.reads_images:
            images = image_gradient.requested_images(inputs)
        kernel = tf.cast(kernel, inputs.dtype)  # As Keras's operation does.
        return _convolve(
            inputs, kernel, self.strides, self.padding.upper(), images
        )


def is_faster_when_strided(layer: tf.keras.layers.Layer) -> bool:
    """Whether a layer is a convolution that `StridedConv2D` would speed up."""
    return (
        type(layer) is tf.keras.layers.Conv2D
        and layer.built
        and layer.kernel.shape[2] <= _MAX_CHANNELS
        and max(layer.strides) > 1
        and layer.padding in ("same", "valid")
        and layer.data_format == "channels_last"
        and layer.groups == 1
        and max(layer.dilation_rate) == 1
    )


def _convolve(
    inputs: tf.Tensor,
    kernel: tf.Tensor,
    strides: tuple[int, int],
    padding: str,
    images: Optional[slice],
) -> tf.Tensor:
    arguments = {"strides": [1, *strides, 1], "padding": padding}

    @tf.custom_gradient
    def convolve(
        inputs: tf.Tensor, kernel: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
        def gradient(output_gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            by_inputs = input_gradient(
                output_gradient,
                kernel,
                inputs.shape,
                strides,
                padding,
                images or slice(None),
            )
            if images:
                others = [images.start, inputs.shape[0] - images.stop]
                by_inputs = tf.pad(by_inputs, [others, [0, 0], [0, 0], [0, 0]])
            by_kernel = tf.raw_ops.Conv2DBackpropFilter(
                input=inputs,
                filter_sizes=kernel.shape,
                out_backprop=output_gradient,
                **arguments,
            )
            return by_inputs, by_kernel

        return tf.nn.conv2d(inputs, kernel, **arguments), gradient

    return convolve(inputs, kernel)


def input_gradient(
    output_gradient: tf.Tensor,
    kernel: tf.Tensor,
    input_shape: tf.TensorShape,
    strides: tuple[int, int],
    padding: str,
    images: slice = slice(None),
) -> tf.Tensor:
    """Computes the input gradient of a strided convolution.

    The gradient dx[u] of pixel u is the sum over outputs i of
    dy[i] * w[u + before - stride * i], where w is 0 outside of the kernel and
    before is the padding. Take pixels in blocks of m strides,
    u = m * stride * block + r, and number outputs from the first one of a
    block, i = m * block + a. Then

        dx[block, r] = sum over a of dy[m * block + a] K[a, r],
        K[a, r] = w[r + before - stride * a]

    which is a forward convolution of dy by K with stride m.

    Args:
      output_gradient: float [batch, out height, out width, filters].
      kernel: float [kernel height, kernel width, channels, filters].
      input_shape: [batch, height, width, channels]; batch may be None.
      strides: (vertical, horizontal).
      padding: "SAME" or "VALID", as TensorFlow pads.
      images: slice of the batch to compute; all images by default.

    Returns:
      float [images, height, width, channels].
    """
    channels, filters = kernel.shape[2:]
    rows, columns = (
        _taps(*sizes, padding)
        for sizes in zip(
            input_shape[1:3],
            output_gradient.shape[1:3],
            kernel.shape[:2],
            strides,
        )
    )
    # Taps outside of the kernel read one additional tap of zeros.
    kernel = tf.pad(kernel, [[0, 1], [0, 1], [0, 0], [0, 0]])
    kernel = tf.gather(kernel, rows.taps, axis=0)
    kernel = tf.gather(kernel, columns.taps, axis=2)
    kernel = tf.transpose(kernel, [0, 2, 5, 1, 3, 4])
    *window, _, height, width, _ = kernel.shape
    blocks = tf.nn.conv2d(
        output_gradient,
        tf.reshape(kernel, [*window, filters, height * width * channels]),
        _STRIDES_PER_BLOCK,
        [[0, 0], rows.padding, columns.padding, [0, 0]],
    )
    # Blocks are computed for all images but assembled for the requested ones
    # only: a TPU that lays images side by side convolves all of them in the
    # time of a few.
    pixels = [
        pixel[images] for pixel in tf.split(blocks, height * width, axis=-1)
    ]
    size = [
        pixels[0].shape[0] or tf.shape(pixels[0])[0],
        blocks.shape[1] * height,
        blocks.shape[2] * width,
        channels,
    ]
    # Moves each pixel of the blocks to its position with the gradient of a
    # strided slice: XLA pads with holes and adds, without the copies of a
    # transposition.
    gradient = tf.add_n(
        [
            tf.raw_ops.StridedSliceGrad(
                shape=size,
                begin=[0, *divmod(number, width), 0],
                end=size,
                strides=[1, height, width, 1],
                dy=pixel,
            )
            for number, pixel in enumerate(pixels)
        ]
    )
    return gradient[:, : input_shape[1], : input_shape[2]]


class _Taps(typing.NamedTuple):
    """One dimension of the convolution over blocks.

    Attributes:
      taps: int [window, block], for each K[a, r] the index of its kernel tap.
      padding: padding of the output gradient, (before, after).
    """

    taps: np.ndarray
    padding: tuple[int, int]


def _taps(
    inputs: int, outputs: int, kernel: int, stride: int, padding: str
) -> _Taps:
    padded = (outputs - 1) * stride + kernel - inputs
    before = max(padded, 0) // 2 if padding == "SAME" else 0
    block = stride * _STRIDES_PER_BLOCK
    first = (before - kernel) // stride + 1
    last = (block - 1 + before) // stride
    taps = (
        np.arange(block) + before - stride * np.arange(first, last + 1)[:, None]
    )
    taps = np.where((taps >= 0) & (taps < kernel), taps, kernel)
    last_block = (inputs - 1) // block
    after = _STRIDES_PER_BLOCK * last_block + last + 1 - outputs
    return _Taps(taps, (-first, max(after, 0)))
