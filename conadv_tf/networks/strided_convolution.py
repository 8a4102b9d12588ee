"""Convolutions over images whose input gradient a TPU computes fast.

An attack needs the gradient with respect to the images: the input gradient of
a network's first convolution. Where that has a stride of 2 and three input
channels, as in most ImageNet networks, a TPU spends a fifth of the attack on
it: the gradient has 3 channels on hardware 128 channels wide, and the stride
leaves holes between its inputs. Over blocks of 4 by 4 pixels it is a dense
convolution into 48 channels. Forward pass and kernel gradient gain nothing and
stay as they are.
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
# Blocks are of this many strides: the more, the fuller the hardware, but the
# more zeros in the kernel and pieces to put together.
_STRIDES_PER_BLOCK = 2


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
class StridedConv2D(tf.keras.layers.Conv2D):
    """Keras's `Conv2D`; under XLA with the input gradient over blocks.

    Same config, variables and results; the input gradient is equal to float
    tolerance. `ca.ConAdvModel` puts it in the place of the convolutions that
    gain, and `export_network` puts `Conv2D` back.

    reads_images: whether its input gradient serves the images only, so that
      `image_gradient_of` holds for it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reads_images = False

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """The convolution of a call, without bias and activation."""
        if not keras_internals.is_compiled_by_xla() or None in inputs.shape[1:]:
            return super().convolution_op(inputs, kernel)
        kernel = tf.cast(kernel, inputs.dtype)  # As an operation would.
        wanted = image_gradient.wanted(inputs) if self.reads_images else None
        return _convolve(
            inputs, kernel, self.strides, self.padding.upper(), wanted
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
    wanted: Optional[slice],
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
                wanted or slice(None),
            )
            if wanted:
                others = [wanted.start, inputs.shape[0] - wanted.stop]
                by_inputs = tf.pad(by_inputs, [others, [0, 0], [0, 0], [0, 0]])
            return (
                by_inputs,
                tf.raw_ops.Conv2DBackpropFilter(
                    input=inputs,
                    filter_sizes=kernel.shape,
                    out_backprop=output_gradient,
                    **arguments,
                ),
            )

        return tf.nn.conv2d(inputs, kernel, **arguments), gradient

    return convolve(inputs, kernel)


def input_gradient(
    output_gradient: tf.Tensor,
    kernel: tf.Tensor,
    input_shape: tf.TensorShape,
    strides: tuple[int, int],
    padding: str,
    wanted: slice = slice(None),
) -> tf.Tensor:
    """Gradient of a strided convolution with respect to its input.

    The gradient of pixel u is the sum over outputs i of dy[i] * w[u + before
    - stride * i], where w is 0 outside its size and `before` is the padding.
    Pixels are taken in blocks of m strides, u = m * stride * block + r, and
    outputs relative to a block's first, i = m * block + a:

        dx[block, r] = sum over a of dy[m * block + a] K[a, r],
        K[a, r] = w[r + before - stride * a]

    which is a forward convolution of dy by K with stride m.

    Args:
      output_gradient: float [batch, out height, out width, filters].
      kernel: float [kernel height, kernel width, channels, filters].
      input_shape: [batch, height, width, channels]; batch may be None.
      strides: (vertical, horizontal).
      padding: "SAME" or "VALID", as TensorFlow pads.
      wanted: which images; all of them by default.

    Returns:
      float [wanted, height, width, channels].
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
    # One more tap each way, of zeros, is what taps outside the kernel read.
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
    # All images have blocks, but only the wanted ones are put together: a TPU
    # that has images side by side convolves them all in the time of a few.
    pixels = [
        pixel[wanted] for pixel in tf.split(blocks, height * width, axis=-1)
    ]
    size = [
        pixels[0].shape[0] or tf.shape(pixels[0])[0],
        blocks.shape[1] * height,
        blocks.shape[2] * width,
        channels,
    ]
    # Each pixel of the blocks to its place, as the gradient of taking every
    # so many: XLA pads with holes and adds, without a transposition's copies.
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

    taps: [window, block], the tap of the kernel that K[a, r] is.
    padding: of the output gradient, (before, after).
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
