"""Selects the images of a batch whose gradient a training step needs.

A step that attacks and trains in one pass needs the gradient with respect to
the images where the attack starts. It concatenates these images with others,
whose gradients it discards. `StridedConv2D` assembles the gradient from
blocks, and no compiler removes the unused part of that computation.

Like the branch of batch norms, the selection is set per thread and read while
a network is called.
"""

from collections.abc import Iterator
import contextlib
import threading
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf import keras_graph

# Layers that have no trained weights and process each image separately.
_IMAGEWISE_LAYERS = (
    tf.keras.layers.InputLayer,
    tf.keras.layers.Normalization,
    tf.keras.layers.Rescaling,
    tf.keras.layers.ZeroPadding2D,
)
_state = threading.local()


@contextlib.contextmanager
def image_gradient_of(images: Optional[slice], size: Any) -> Iterator[None]:
    """Requests the gradient with respect to some images of a batch only.

    Applies to networks called inside the context. Their layers must keep the
    order of the images. The gradients with respect to other images may be 0.

    Args:
      images: slice of the batch; None requests all images.
      size: size of the batch. If it is not an int, all gradients are computed.

    Yields:
      Nothing.
    """
    previous = getattr(_state, "request", None)
    is_static = images is not None and isinstance(size, int)
    _state.request = (images, size) if is_static else None
    try:
        yield
    finally:
        _state.request = previous


def requested_images(inputs: tf.Tensor) -> Optional[slice]:
    """Returns the slice of the inputs whose gradient is needed; None is all.

    Args:
      inputs: [batch, ...], inputs of a layer for which `reads_images` is true.
    """
    images, size = getattr(_state, "request", None) or (None, None)
    return images if inputs.shape[0] == size else None


def reads_images(layer: tf.keras.layers.Layer) -> bool:
    """Whether example i of a layer's inputs depends on image i alone.

    The gradient with respect to the layer's inputs is then used for the image
    only: no layer before this one is trained or mixes examples.

    Args:
      layer: layer of a functional network, not of a model nested in it.
    """
    return all(
        type(previous) in _IMAGEWISE_LAYERS and reads_images(previous)
        for call in keras_graph.calls_of(layer)
        for symbol in call.inputs
        for previous in [keras_graph.call_of(symbol).layer]
    )
