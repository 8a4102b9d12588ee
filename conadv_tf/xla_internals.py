"""The seam to XLA: what TensorFlow has of its modules without public names.

Beside `keras_internals`, for the same reason.
"""

from collections.abc import Callable
import inspect
import types
from typing import Any

# TensorFlow ships these protocol buffers without a public name.
from tensorflow.compiler.xla import xla_data_pb2
from tensorflow.compiler.xla.service import hlo_pb2


def optimized_hlo(function: Callable[..., Any], *specs: Any) -> Any:
    """XLA:CPU's optimized `HloProto` of a function: a module and its buffers.

    TensorFlow 2.15 names the device that it is for; newer ones warn of that
    and take a platform, which 2.15 does not know.

    Args:
      function: `tf.function` with `jit_compile=True`.
      *specs: TensorSpecs of static shape.
    """
    lower = function.experimental_get_compiler_ir(*specs)  # type: ignore[attr-defined]
    knows = inspect.signature(lower).parameters
    place = (
        {"platform_name": "CPU"}
        if "platform_name" in knows
        else {"device_name": "/device:CPU:0"}
    )
    return hlo_pb2.HloProto.FromString(
        lower(stage="optimized_hlo_proto_serialized", **place)
    )


def xla_types() -> types.ModuleType:
    """The element types (F32, TUPLE, ...) that an `HloProto` has numbers of."""
    return xla_data_pb2
