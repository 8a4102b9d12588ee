"""Helpers of the checks of copied and of converted networks."""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

# Sizes to try where a network leaves the size of its inputs open.
OPEN_SIZES = (32, 64, 224)
_FLOAT32_TOLERANCE = 1e-3


def name_and_class(layer: Any) -> str:
    """Returns a layer's name and class for an error message."""
    return f"{layer.name!r} ({type(layer).__name__})"


def are_close(
    expected: Sequence[tf.Tensor],
    received: Sequence[tf.Tensor],
    tolerances: Mapping[str, float],
) -> bool:
    """Returns whether outputs are equal up to rounding.

    Args:
      expected: outputs of a network.
      received: outputs of its copy.
      tolerances: {name of a dtype: largest difference, relative to the largest
        finite output}. It is 0.001 for a dtype without an entry.
    """
    for one, other in zip(expected, received):
        tolerance = tolerances.get(one.dtype.name, _FLOAT32_TOLERANCE)
        one, other = (
            np.asarray(tf.cast(each, tf.float32)) for each in (one, other)
        )
        largest = np.max(np.abs(one), initial=0.0, where=np.isfinite(one))
        if one.shape != other.shape or not np.allclose(
            one, other, rtol=0, atol=tolerance * largest, equal_nan=True
        ):
            return False
    return len(expected) == len(received)
