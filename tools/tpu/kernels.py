"""Asks TensorFlow's TPU build which operations it has no TPU kernel for.

Runs in an environment of its own with the wheels in REQUIREMENTS alone: a
package that pulls in plain TensorFlow (tf_keras does) overwrites the build.

    python tools/tpu/kernels.py OPERATIONS.json MISSING.json

The first file holds [name, {attribute: [types]}] pairs, as `export` makes
them; the second gets those that no kernel takes. `report.py` does the calling.
"""

import json
import sys

# Newer libtpus (0.0.41, 0.0.52) lack functions that this TensorFlow loads.
REQUIREMENTS = "tensorflow-tpu==2.20.0 libtpu==0.0.21"
_DEVICE = "XLA_TPU_JIT"


def main():
    """Writes which of the operations of a file have no kernel."""
    source, output = sys.argv[1:]
    with open(source, encoding="utf-8") as file:
        operations = json.load(file)
    kernels = registered_kernels({name for name, _ in operations})
    if not any(kernels.values()):
        raise ImportError("This TensorFlow has no TPU kernels")
    with open(output, "w", encoding="utf-8") as file:
        json.dump(missing(operations, kernels), file, indent=2)


def missing(operations, kernels):
    """The operations that no kernel takes, in their form and order.

    Args:
      operations: list of [name, {attribute: [types]}].
      kernels: dict of name to a list of kernels, each a dict of attribute to
        the types it takes; an attribute that is not there takes all.
    """

    def takes(kernel, types):
        return all(
            set(types.get(attribute, ())) <= set(allowed)
            for attribute, allowed in kernel.items()
        )

    return [
        [name, types]
        for name, types in operations
        if not any(takes(kernel, types) for kernel in kernels.get(name, ()))
    ]


def registered_kernels(names):
    """TPU kernels of the operations of these names, for `missing`."""
    import tensorflow as tf
    from tensorflow.python.framework import kernels

    # Kernels are registered when something is compiled for the first time.
    double = tf.function(lambda x: x + x, jit_compile=True)
    try:
        double.experimental_get_compiler_ir(tf.TensorSpec([2]))(
            stage="hlo", platform_name="TPU"
        )
    except (TypeError, ValueError) as error:
        raise ImportError(
            f"This TensorFlow is not for TPUs ({error})"
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
        print(f"{error}; install {REQUIREMENTS} alone.", file=sys.stderr)
        sys.exit(3)
