"""Compiles HLO with the real TPU compiler, on a machine without a TPU.

Runs in a separate environment with the packages in REQUIREMENTS and without
TensorFlow, because they need a newer NumPy than TensorFlow 2.15 does:

    python tools/tpu/compiler.py TOPOLOGY STEP.hlo.pb OUTPUT

Writes the optimized module to OUTPUT.hlo.txt and the compiler's statistics to
OUTPUT.json. The library libtpu can compile for a topology that is not present;
jax serves only to call it. `report.py` runs this script.
"""

import json
import os
import sys
import time

REQUIREMENTS = "jax==0.10.2 libtpu==0.0.52"


def main():
    """Compiles the module that the arguments name."""
    topology, source, output = sys.argv[1:]
    with open(source, "rb") as file:
        serialized = file.read()
    started = time.time()
    device, executable = compile_hlo(serialized, topology)
    memory = executable.get_compiled_memory_stats()
    costs = executable.cost_analysis()
    with open(f"{output}.hlo.txt", "w", encoding="utf-8") as file:
        file.write(executable.hlo_modules()[0].to_string())
    facts = {
        "device": device.device_kind,
        "flops": costs.get("flops"),
        "bytes_accessed": costs.get("bytes accessed"),
        "argument_bytes": memory.argument_size_in_bytes,
        "output_bytes": memory.output_size_in_bytes,
        "alias_bytes": memory.alias_size_in_bytes,
        "temporary_bytes": memory.temp_size_in_bytes,
        "code_bytes": memory.generated_code_size_in_bytes,
        "compile_seconds": time.time() - started,
    }
    with open(f"{output}.json", "w", encoding="utf-8") as file:
        json.dump(facts, file, indent=2)


def compile_hlo(serialized, topology):
    """Compiles a module for one core of a topology.

    Args:
      serialized: HloModuleProto of TensorFlow, as bytes.
      topology: name of a TPU topology, such as "v3:2x2".

    Returns:
      (device, executable) of jax.
    """
    import jax
    from jax._src.interpreters import mlir
    from jax._src.lib import _jax
    from jax._src.lib import xla_client
    from jax._src.lib.mlir import ir
    from jax.experimental import topologies
    import numpy as np

    jax.config.update("jax_platforms", "cpu")
    describe = topologies.get_topology_desc
    device = describe(platform="tpu", topology_name=topology).devices[0]
    options = xla_client.CompileOptions()
    options.num_replicas = options.num_partitions = 1
    options.device_assignment = xla_client.DeviceAssignment.create(
        np.array([[device.id]])
    )
    with mlir.make_ir_context():
        module = ir.Module.parse(_jax.mlir.hlo_to_stablehlo(serialized))
        _remove_copies(module, ir)
        devices = xla_client.DeviceList((device,))
        return device, device.client.compile(module, devices, options)


def _remove_copies(module, ir):
    """Removes TensorFlow's `mhlo.copy`, an identity that libtpu refuses."""
    copies = []

    def collect(operation):
        if operation.name == "mhlo.copy":
            copies.append(operation)
        return ir.WalkResult.ADVANCE

    module.operation.walk(collect)
    for operation in copies:
        operation.results[0].replace_all_uses_with(operation.operands[0])
        operation.erase()


if __name__ == "__main__":
    try:
        main()
    except ImportError as error:
        sys.exit(f"{error}; install {REQUIREMENTS}.")
    sys.stdout.flush()
    os._exit(0)  # The library aborts in its destructors after compiling.
