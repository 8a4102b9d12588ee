"""Gradients by images that survive float16.

The surer a network is of an example, the smaller the loss's gradient by the
logits: exp(-distance) of the largest two. float16 ends at 6e-8, and on its way
back to the images the gradient is divided by every pool; where it arrives as
zero, sign(0) = 0 and the image stays as it is, without a word.
"""

from collections.abc import Callable
import math
from typing import Union

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.types import Forward

# Maps the gradient by the outputs to the gradient by the inputs.
_Gradient = Callable[[tf.Tensor], tf.Tensor]
# The largest entry of the scaled gradient by the logits. In trained and
# untrained networks with float16 layers, from three convolutions to ResNet-18,
# 2**4 to 2**14 lost under 0.01% of the pixels and nothing overflowed.
_LARGEST = 2.0**10
# float32 must hold the factor and what is divided by it.
_MAX_FACTOR_EXPONENT = 110


def computes_in_float16(network: tf.keras.Model) -> bool:
    """Whether a layer of the network computes in float16."""
    return any(
        layer.compute_dtype == "float16"
        for layer in keras_internals.flatten_layers(network)
    )


class LossScaledForward:
    """A function of images whose gradient by them does not vanish in float16.

    On the way back the gradient by the logits is multiplied by a power of two
    that brings its largest entry to 2**10, and the gradient by the images is
    divided by it in float32: what comes out is the gradient, to the bit where
    nothing underflows, so that an attack of any kind may use it.

    Of a whole batch, one factor: through batch statistics every image has a
    part in every loss, and factors of their own would weight these parts.

    Args:
      forward: images to logits [batch, classes].
      is_needed: whether `forward` computes in float16; if not, nothing is
        changed.
      is_independent: whether the logits of an example depend on no other, as
        without batch norm; then each has a factor of its own.
    """

    def __init__(
        self, forward: Forward, is_needed: bool, is_independent: bool
    ) -> None:
        self._forward = forward
        self._is_needed = is_needed
        self._is_independent = is_independent

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Logits; float32 where gradients are scaled."""
        if not self._is_needed:
            return self._forward(images)
        # What the way back begins with, its end needs.
        exponents = list[tf.Tensor]()

        @tf.custom_gradient
        def enter(images: tf.Tensor) -> tuple[tf.Tensor, _Gradient]:
            def back(gradient: tf.Tensor) -> tf.Tensor:
                return _multiplied(gradient, -exponents[-1])

            return tf.identity(images), back

        @tf.custom_gradient
        def leave(logits: tf.Tensor) -> tuple[tf.Tensor, _Gradient]:
            def back(gradient: tf.Tensor) -> tf.Tensor:
                exponents.append(_exponents(gradient, self._is_independent))
                return _multiplied(gradient, exponents[-1])

            return tf.identity(logits), back

        logits = tf.cast(self._forward(enter(images)), tf.float32)
        return leave(logits)


def scaled_forward(network: Forward) -> LossScaledForward:
    """What an attack runs: a Keras model in inference mode, or a function.

    Args:
      network: Keras model; a `LossScaledForward`, which comes back as it is; or
        another function, whose precision is not known.
    """
    if isinstance(network, LossScaledForward):
        return network
    if isinstance(network, tf.keras.Model):
        return LossScaledForward(
            lambda images: network(images, training=False),
            computes_in_float16(network),
            is_independent=True,
        )
    return LossScaledForward(network, is_needed=True, is_independent=False)


def exponent_to(
    wanted: Union[float, tf.Tensor],
    largest: tf.Tensor,
    at_most: int = _MAX_FACTOR_EXPONENT,
) -> tf.Tensor:
    """Of the power of two that makes small values as large as is wanted.

    Args:
      wanted: what the product does not exceed, and half of which it reaches.
      largest: float32, what to multiply.
      at_most: the largest exponent to return.

    Returns:
      int32, the shape of `largest`, from 0 to `at_most`; 0 for what is zero
      already, or not finite.
    """
    usable = tf.logical_and(largest > 0, tf.math.is_finite(largest))
    times = tf.math.log(wanted) - tf.math.log(tf.where(usable, largest, 1.0))
    exponent = tf.cast(tf.math.floor(times / math.log(2.0)), tf.int32)
    return tf.where(usable, tf.clip_by_value(exponent, 0, at_most), 0)


def power_of_two(exponent: tf.Tensor) -> tf.Tensor:
    """2**exponent, exactly: float32, the shape of an int32 tensor."""
    # The exponent's bits of a float32, behind those of its fraction.
    return tf.bitcast(tf.bitwise.left_shift(exponent + 127, 23), tf.float32)


def _exponents(gradient: tf.Tensor, is_independent: bool) -> tf.Tensor:
    """For each example or for all, int32 [batch] or [1]."""
    rows = tf.reshape(gradient, [tf.shape(gradient)[0], -1])
    largest = tf.reduce_max(tf.abs(rows), axis=1)
    if not is_independent:
        largest = tf.reduce_max(largest, keepdims=True)
    return exponent_to(_LARGEST, largest)


def _multiplied(values: tf.Tensor, exponents: tf.Tensor) -> tf.Tensor:
    ones = [1] * (values.shape.rank - 1)
    return values * tf.reshape(power_of_two(exponents), [-1, *ones])
