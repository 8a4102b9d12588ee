"""Notices networks whose first layers rescale images that are scaled already.

Networks of keras.io and of keras.applications often begin with a `Rescaling`
layer and expect grey levels from 0 to 255. With images in [0, 1] they train on
images that are nearly constant, and lose accuracy without any error.
"""

from typing import Optional
import warnings

import numpy as np
import tensorflow as tf

from conadv_tf import keras_graph
from conadv_tf.network_checks import name_and_class
from conadv_tf.types import ValueRange

# The first layer with weights normally receives a span of about 1 to 5.
_SMALL_SPAN = 0.05
# Smallest distance from 0, in spans, of images that are nearly constant.
_FAR = 10
# Height and width of the images where the network leaves them open.
_OPEN_SIZE = 8
# Position of the pixel between the ends. Not the middle, so that odd functions
# are not taken for affine ones.
_BETWEEN = 0.25


def rescaled_range(
    network: tf.keras.Model, value_range: ValueRange
) -> Optional[tuple[str, ValueRange]]:
    """Returns what the first layer with weights receives, if it is too narrow.

    Constant images of the lowest and of the highest pixel, and of one between
    them, pass through the layers before it.

    Args:
      network: functional network.
      value_range: (low, high) of the images.

    Returns:
      (name and class of a layer, (low, high)). None if the layers before it
      change nothing, keep the range wide, or are not affine.
    """
    low, high = value_range
    shape = [size or _OPEN_SIZE for size in network.inputs[0].shape[1:]]
    levels = np.array(
        [low, (1 - _BETWEEN) * low + _BETWEEN * high, high], np.float32
    )
    images = np.broadcast_to(
        levels.reshape([3] + [1] * len(shape)), [3, *shape]
    )
    try:
        return _narrow_range(network, tf.constant(images))
    except Exception:  # Layers that cannot run so are not blamed.
        return None


def warn_of_rescaling(network: tf.keras.Model, value_range: ValueRange) -> None:
    """Warns if a network rescales images that are in `value_range` already."""
    found = rescaled_range(network, value_range)
    if found is None:
        return
    name, (low, high) = found
    warnings.warn(
        f"Network {network.name!r} rescales its images: pixels in the attack's "
        f"value_range={value_range} are from {low:.3g} to {high:.3g} at layer "
        f"{name}, nearly constant. {REMEDIES}"
    )


REMEDIES = (
    "A network that rescales expects grey levels from 0 to 255: do not divide "
    "the images, and use value_range=(0, 255) with epsilon in grey levels, for "
    "example ca.PGD(8, value_range=(0, 255)). Or divide the images by 255 and "
    "remove the rescaling (Rescaling, Normalization, preprocess_input) from "
    "the network."
)


def _narrow_range(
    network: tf.keras.Model, images: tf.Tensor
) -> Optional[tuple[str, ValueRange]]:
    first = next(filter(_has_weights, network.layers), None)
    if first is None or len(keras_graph.inputs_of(first)) != 1:
        return None
    (received,) = keras_graph.inputs_of(first)
    if received is not network.inputs[0]:
        before = tf.keras.Model(network.inputs, received)
        images = before(tf.cast(images, network.inputs[0].dtype))
    if isinstance(first, tf.keras.Model):
        return _narrow_range(first, images)
    low, between, high = tf.cast(images, tf.float32).numpy()
    span = np.abs(high - low)
    expected = (1 - _BETWEEN) * low + _BETWEEN * high
    if not span.max() or np.abs(between - expected).max() > 0.1 * span.max():
        return None
    distance = np.minimum(np.abs(low), np.abs(high))[span > 0]
    if span.max() > _SMALL_SPAN and distance.min() < _FAR * span.max():
        return None
    ends = np.concatenate([low[span > 0], high[span > 0]])
    return name_and_class(first), (float(ends.min()), float(ends.max()))


def _has_weights(layer: tf.keras.layers.Layer) -> bool:
    """Whether a layer learns; `Normalization` only has statistics."""
    return bool(layer.weights) and not isinstance(
        layer, tf.keras.layers.Normalization
    )
