"""Access to XLA modules, which have no public names in TensorFlow.

Like `keras_internals`, it keeps all code that may change with a new version of
TensorFlow in one file.
"""

from collections.abc import Callable
import inspect
import types
from typing import Any

# TensorFlow ships these protocol buffers without a public name.
from tensorflow.compiler.xla import xla_data_pb2
from tensorflow.compiler.xla.service import hlo_pb2


def optimized_hlo(function: Callable[..., Any], *specs: Any) -> Any:
    """Returns XLA:CPU's optimized `HloProto`: a module and its buffers.

    TensorFlow 2.15 needs the name of a device. Newer versions need the name of
    a platform instead, and warn about a device.

    Args:
      function: `tf.function` with `jit_compile=True`.
      *specs: TensorSpecs of static shape.
    """
    lower = function.experimental_get_compiler_ir(*specs)  # type: ignore[attr-defined]
    target = {"device_name": "/device:CPU:0"}
    if "platform_name" in inspect.signature(lower).parameters:
        target = {"platform_name": "CPU"}
    return hlo_pb2.HloProto.FromString(
        lower(stage="optimized_hlo_proto_serialized", **target)
    )


def xla_types() -> types.ModuleType:
    """Returns the module of the element types (F32, TUPLE, ...) in a proto."""
    return xla_data_pb2
