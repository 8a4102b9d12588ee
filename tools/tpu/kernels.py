"""Finds the operations for which TensorFlow's TPU build has no kernel.

Runs in a separate environment with only the wheels in REQUIREMENTS: a package
that depends on plain TensorFlow, such as tf_keras, would overwrite the build.

    python tools/tpu/kernels.py OPERATIONS.json MISSING.json

The first file holds pairs [name, {attribute: [types]}] from `export.py`. The
pairs that no kernel supports are written to the second. `report.py` runs this
script.
"""

import json
import sys

# Newer libtpus (0.0.41, 0.0.52) lack functions that this TensorFlow loads.
REQUIREMENTS = "tensorflow-tpu==2.20.0 libtpu==0.0.21"
_DEVICE = "XLA_TPU_JIT"


def main():
    """Writes the operations of a file that have no kernel to another file."""
    source, output = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        operations = json.load(file)
    kernels = registered_kernels({name for name, _ in operations})
    if not any(kernels.values()):
        raise ImportError("This TensorFlow has no TPU kernels")
    with open(output, "w", encoding="utf-8") as file:
        json.dump(missing(operations, kernels), file, indent=2)


def missing(operations, kernels):
    """Returns the operations that no kernel supports, in their order.

    Args:
      operations: list of [name, {attribute: [types]}].
      kernels: dict from each name to a list of kernels. A kernel is a dict from
        each attribute to the types that it supports; an attribute without an
        entry may have any type.
    """

    def supports(kernel, types):
        return all(
            set(types.get(attribute, ())) <= set(allowed)
            for attribute, allowed in kernel.items()
        )

    return [
        [name, types]
        for name, types in operations
        if not any(supports(kernel, types) for kernel in kernels.get(name, ()))
    ]


def registered_kernels(names):
    """Returns the TPU kernels of some operations, as `missing` takes them."""
    import tensorflow as tf
    from tensorflow.python.framework import kernels

    # The first compilation registers the kernels.
    double = tf.function(lambda x: x + x, jit_compile=True)
    try:
        double.experimental_get_compiler_ir(tf.TensorSpec([2]))(
            stage="hlo", platform_name="TPU"
        )
    except (TypeError, ValueError) as error:
        raise ImportError(
            f"This TensorFlow is not built for TPUs ({error})"
        ) from None
    return {
        name: [
            {
                constraint.name: [
                    tf.as_dtype(each).name
                    for each in constraint.allowed_values.list.type
                ]
                for constraint in kernel.constraint
            }
            for kernel in kernels.get_registered_kernels_for_op(name).kernel
            if kernel.device_type == _DEVICE
        ]
        for name in names
    }


if __name__ == "__main__":
    try:
        main()
    except ImportError as error:
        sys.exit(f"{error}; install {REQUIREMENTS} alone.")
