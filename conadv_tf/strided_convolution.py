"""Convolutions over images whose input gradient a TPU computes fast.

An attack needs the gradient with respect to the images: the input gradient of
a network's first convolution. Where that has a stride of 2 and three input
channels, as in most ImageNet networks, a TPU spends a fifth of the attack on
it: the gradient has 3 channels on hardware 128 channels wide, and the stride
leaves holes between its inputs. Over blocks of stride by stride pixels it is
a dense convolution without stride into 12 channels. Forward pass and kernel
gradient gain nothing and stay as they are.
"""

import typing

import tensorflow as tf

from conadv_tf.compilation import is_compiled

_MAX_CHANNELS = 4


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
class StridedConv2D(tf.keras.layers.Conv2D):
    """Keras's `Conv2D`; under XLA with the input gradient over blocks.

    Same config, variables and results; the input gradient is equal to float
    tolerance. `ca.ConAdvModel` puts it in the place of the convolutions that
    gain, and `export_network` puts `Conv2D` back.
    """

    def convolution_op(self, inputs, kernel):
        """The convolution of a call, without bias and activation."""
        if not is_compiled() or None in inputs.shape[1:]:
            return super().convolution_op(inputs, kernel)
        kernel = tf.cast(kernel, inputs.dtype)  # As an operation would.
        return _convolve(inputs, kernel, self.strides, self.padding.upper())


def gains(layer):
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


def _convolve(inputs, kernel, strides, padding):
    arguments = {"strides": [1, *strides, 1], "padding": padding}

    @tf.custom_gradient
    def convolve(inputs, kernel):
        def gradient(output_gradient):
            return (
                input_gradient(
                    output_gradient, kernel, inputs.shape, strides, padding
                ),
                tf.raw_ops.Conv2DBackpropFilter(
                    input=inputs,
                    filter_sizes=kernel.shape,
                    out_backprop=output_gradient,
                    **arguments,
                ),
            )

        return tf.nn.conv2d(inputs, kernel, **arguments), gradient

    return convolve(inputs, kernel)


def input_gradient(output_gradient, kernel, input_shape, strides, padding):
    """Gradient of a strided convolution with respect to its input.

    With x padded in front and cut into blocks P[b, r] = x[stride * b + r], the
    convolution is one without stride, y[i] = sum over k and r of P[i + k, r]
    w[stride * k + r], where w has zeros beyond its size. Its input gradient
    is that of P, put together again.

    Args:
      output_gradient: float [batch, out height, out width, filters].
      kernel: float [kernel height, kernel width, channels, filters].
      input_shape: [batch, height, width, channels]; batch may be None.
      strides: (vertical, horizontal).
      padding: "SAME" or "VALID", as TensorFlow pads.

    Returns:
      float [batch, height, width, channels].
    """
    batch = output_gradient.shape[0] or tf.shape(output_gradient)[0]
    channels = kernel.shape[2]
    rows, columns = (
        _dimension(*sizes, padding)
        for sizes in zip(
            input_shape[1:3],
            output_gradient.shape[1:3],
            kernel.shape[:2],
            strides,
        )
    )
    kernel = _over_blocks(kernel, strides, (rows.taps, columns.taps))
    gradient = tf.raw_ops.Conv2DBackpropInput(
        input_sizes=tf.stack(
            [batch, rows.blocks, columns.blocks, kernel.shape[2]]
        ),
        filter=kernel,
        out_backprop=output_gradient,
        strides=[1, 1, 1, 1],
        padding="VALID",
    )
    gradient = gradient[:, rows.first :, columns.first :]
    size = [
        batch,
        gradient.shape[1] * strides[0],
        gradient.shape[2] * strides[1],
        channels,
    ]
    # Each phase to its pixels, as the gradient of taking every other pixel:
    # XLA pads with holes and adds, without the copies of a transposition.
    phases = tf.split(gradient, strides[0] * strides[1], axis=-1)
    gradient = tf.add_n(
        [
            tf.raw_ops.StridedSliceGrad(
                shape=size,
                begin=[0, *divmod(number, strides[1]), 0],
                end=size,
                strides=[1, *strides, 1],
                dy=phase,
            )
            for number, phase in enumerate(phases)
        ]
    )
    # Pixels after the last block are in no output.
    gradient = tf.pad(
        gradient, [[0, 0], [0, rows.unused], [0, columns.unused], [0, 0]]
    )
    return gradient[
        :,
        rows.skipped : rows.skipped + input_shape[1],
        columns.skipped : columns.skipped + input_shape[2],
    ]


class _Dimension(typing.NamedTuple):
    """How one dimension falls into blocks.

    taps: of the kernel over blocks.
    blocks: that the outputs see.
    first: block with the first pixel of the input; before it is padding.
    skipped: pixels of padding in that block.
    unused: pixels of the input after the last block.
    """

    taps: int
    blocks: int
    first: int
    skipped: int
    unused: int


def _dimension(inputs, outputs, kernel, stride, padding):
    taps = -(-kernel // stride)
    blocks = outputs + taps - 1
    padded = (outputs - 1) * stride + kernel - inputs
    before = max(padded, 0) // 2 if padding == "SAME" else 0
    unused = max(before + inputs - blocks * stride, 0)
    return _Dimension(taps, blocks, *divmod(before, stride), unused)


def _over_blocks(kernel, strides, taps):
    """The kernel of the convolution over blocks, zeros beyond its size."""
    *sizes, channels, filters = kernel.shape
    after = [
        [0, count * stride - size]
        for count, stride, size in zip(taps, strides, sizes)
    ]
    kernel = tf.pad(kernel, [*after, [0, 0], [0, 0]])
    kernel = tf.reshape(
        kernel, [taps[0], strides[0], taps[1], strides[1], channels, filters]
    )
    return tf.reshape(
        tf.transpose(kernel, [0, 2, 1, 3, 4, 5]),
        [*taps, strides[0] * strides[1] * channels, filters],
    )
