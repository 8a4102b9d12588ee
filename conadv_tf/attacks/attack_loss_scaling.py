"""Scales the attack's gradients so that they do not underflow in float16.

The more confident a network is about an example, the smaller is the gradient
of the loss by the logits: exp(-distance) of the two largest logits. The
smallest positive float16 is 6e-8, and every pooling layer divides the gradient
further on its way back to the images. If it arrives as zero, sign(0) = 0, and
the image is silently left unchanged.
"""

from collections.abc import Callable
from collections.abc import Sequence
import math
from typing import Any
from typing import Union

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf import keras_outputs
from conadv_tf.types import Forward

# Maps the gradient by the outputs to the gradient by the inputs.
_Gradient = Callable[[tf.Tensor], tf.Tensor]
# Largest entry of the scaled gradient by the logits. In trained and untrained
# networks with float16 layers, from three convolutions to ResNet-18, values
# from 2**4 to 2**14 lost under 0.01% of the pixels and nothing overflowed.
_LARGEST = 2.0**10
# float32 must hold the factor and the gradient divided by it.
_MAX_FACTOR_EXPONENT = 110


def computes_in_float16(network: tf.keras.Model) -> bool:
    """Whether a layer of the network computes in float16."""
    return any(
        layer.compute_dtype == "float16"
        for layer in keras_internals.flatten_layers(network)
    )


class LossScaledForward:
    """Wraps a forward function so that its gradient survives float16.

    In the backward pass the gradient by the logits is multiplied by a power
    of two that brings its largest entry to 2**10. The gradient by the images
    is divided by the same power in float32. The result is the unscaled
    gradient, equal to the bit where nothing underflows, so any attack may use
    it.

    One factor scales the whole batch: batch statistics make every loss depend
    on every image, and a separate factor per example would weight the examples
    differently.

    Args:
      forward: images to logits [batch, classes].
      is_needed: whether `forward` computes in float16; with False nothing is
        scaled.
      is_independent: whether the logits of an example depend on this example
        only, as without batch norm; then each example is scaled separately.
    """

    def __init__(
        self, forward: Forward, is_needed: bool, is_independent: bool
    ) -> None:
        self._forward = forward
        self._is_needed = is_needed
        self._is_independent = is_independent

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Returns the logits, cast to float32 if gradients are scaled."""
        if not self._is_needed:
            return self._forward(images)
        # Backpropagation reaches `leave` first. It stores the exponents that
        # `enter` needs at the end.
        exponents = list[tf.Tensor]()

        @tf.custom_gradient
        def enter(images: tf.Tensor) -> tuple[tf.Tensor, _Gradient]:
            def back(gradient: tf.Tensor) -> tf.Tensor:
                return _multiplied(gradient, -exponents[-1])

            return tf.identity(images), back

        @tf.custom_gradient
        def leave(*inputs: tf.Tensor) -> tuple[Any, Callable[..., Any]]:
            def back(*gradients: tf.Tensor) -> list[tf.Tensor]:
                exponents.append(_exponents(gradients, self._is_independent))
                return [_multiplied(each, exponents[-1]) for each in gradients]

            return [tf.identity(each) for each in inputs], back

        outputs = keras_outputs.as_float32(self._forward(enter(images)))
        inputs = leave(*keras_outputs.loss_inputs(outputs))
        return keras_outputs.with_loss_inputs(outputs, inputs)


def scaled_forward(network: Forward) -> LossScaledForward:
    """Returns the forward function that an attack differentiates.

    Args:
      network: a Keras model, which then runs in inference mode; a
        `LossScaledForward`, which is returned unchanged; or another function,
        which is assumed to compute in float16.
    """
    if isinstance(network, LossScaledForward):
        return network
    if isinstance(network, tf.keras.Model):
        return LossScaledForward(
            lambda images: tf.nest.flatten(network(images, training=False))[0],
            computes_in_float16(network),
            is_independent=True,
        )
    return LossScaledForward(network, is_needed=True, is_independent=False)


def exponent_to(
    wanted: Union[float, tf.Tensor],
    largest: tf.Tensor,
    at_most: int = _MAX_FACTOR_EXPONENT,
) -> tf.Tensor:
    """Computes exponents of powers of two that scale values up to a size.

    Args:
      wanted: size to scale to. A scaled value is over half of it and at most
        equal to it, unless the value is larger already or `at_most` limits
        the exponent.
      largest: float32, the values to scale.
      at_most: the largest exponent to return.

    Returns:
      int32, the shape of `largest`, from 0 to `at_most`; 0 for values that are
      zero or not finite.
    """
    usable = tf.logical_and(largest > 0, tf.math.is_finite(largest))
    times = tf.math.log(wanted) - tf.math.log(tf.where(usable, largest, 1.0))
    exponent = tf.cast(tf.math.floor(times / math.log(2.0)), tf.int32)
    return tf.where(usable, tf.clip_by_value(exponent, 0, at_most), 0)


def power_of_two(exponent: tf.Tensor) -> tf.Tensor:
    """Computes 2**exponent exactly; int32 to float32 of the same shape."""
    # The 8 bits of a float32's exponent lie above the 23 bits of its fraction.
    return tf.bitcast(tf.bitwise.left_shift(exponent + 127, 23), tf.float32)


def _exponents(
    gradients: Sequence[tf.Tensor], is_independent: bool
) -> tf.Tensor:
    """Returns one exponent per example, int32 [batch], or for all, [1]."""
    size = tf.shape(gradients[0])[0]
    rows = tf.concat([tf.reshape(each, [size, -1]) for each in gradients], 1)
    largest = tf.reduce_max(tf.abs(rows), axis=1)
    if not is_independent:
        largest = tf.reduce_max(largest, keepdims=True)
    return exponent_to(_LARGEST, largest)


def _multiplied(values: tf.Tensor, exponents: tf.Tensor) -> tf.Tensor:
    ones = [1] * (values.shape.rank - 1)
    return values * tf.reshape(power_of_two(exponents), [-1, *ones])
