"""Which images' gradient is wanted, for the layer that would compute all.

A step in one pass needs the gradient with respect to the images where an
attack starts, and joins them with others, whose gradient is thrown away. No
compiler sees that where the gradient is put together from blocks.

As with the branch of batch norms, the choice is made per thread and read while
a network is called.
"""

from collections.abc import Iterator
import contextlib
import threading
from typing import Any
from typing import Optional

import tensorflow as tf

# Layers without trained weights, which see one image at a time.
_EACH_ALONE = (
    tf.keras.layers.InputLayer,
    tf.keras.layers.Normalization,
    tf.keras.layers.Rescaling,
    tf.keras.layers.ZeroPadding2D,
)
_state = threading.local()


@contextlib.contextmanager
def image_gradient_of(images: Optional[slice], size: Any) -> Iterator[None]:
    """Gradients by a batch of images are wanted for some of them only.

    For networks called inside, whose layers keep the order of the images. The
    gradient by the others may come out as 0.

    Args:
      images: which of the batch; None is all.
      size: of the batch; where it is no int, all gradients are computed.

    Yields:
      Nothing.
    """
    previous = getattr(_state, "wanted", None)
    static = images is not None and isinstance(size, int)
    _state.wanted = (images, size) if static else None
    try:
        yield
    finally:
        _state.wanted = previous


def wanted(inputs: tf.Tensor) -> Optional[slice]:
    """Of which examples of a layer's inputs the gradient is wanted.

    Args:
      inputs: [batch, ...] of a layer of which `reads_images` is true.

    Returns:
      A slice of them; None is all.
    """
    images, size = getattr(_state, "wanted", None) or (None, None)
    return images if inputs.shape[0] == size else None


def reads_images(layer: tf.keras.layers.Layer) -> bool:
    """Whether example i of a layer's inputs is image i and nothing else.

    Then the gradient by the layer's inputs serves that image alone: nothing
    that is trained lies before the layer, and nothing that mixes examples.

    Args:
      layer: of a functional network, not of a model nested in it.
    """
    return all(
        type(before) in _EACH_ALONE and reads_images(before)
        for node in layer.inbound_nodes
        for before in tf.nest.flatten(node.inbound_layers)
    )
