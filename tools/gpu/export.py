"""A training step as files that a machine without TensorFlow can run.

XLA's representation has a parameter for each tensor of the batch and for each
variable. What a parameter starts with is described rather than kept: random
numbers with the moments of the variable's own, and a whole network takes a few
hundred kilobytes.
"""

import gzip
import json
import pathlib

import numpy as np
import tensorflow as tf

from conadv_tf import keras_internals
from tools.step import models
from tools.tpu import export as export_lib

INDEX = "steps.json"
_FEW = 16


def write(steps, network, image_size, folder):
    """Writes steps, gzipped, and an index of them.

    Args:
      steps: (method, images, Keras policy) of each; methods as
        `models.of_method` takes them.
      network: name, see `models.NAMES`.
      image_size: height and width.
      folder: where to; made if it is missing.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    index = []
    for method, batch_size, precision in steps:
        tf.keras.backend.clear_session()
        tf.keras.mixed_precision.set_global_policy(precision)
        built = models.network(network, image_size)
        serialized, facts = step(built, method, batch_size)
        name = f"{network}_{method}_{batch_size}_{precision}.hlo.pb.gz"
        (folder / name).write_bytes(gzip.compress(serialized))
        index.append({"precision": precision, "file": name, **facts})
        print(f"exported {name}", flush=True)
    (folder / INDEX).write_text(json.dumps(index))


def step(network, method, batch_size):
    """One step of a method.

    Returns:
      (serialized HloModuleProto, dict): method, batch_size, epsilon of the
      attack, `parameters` in order, each with name, shape, dtype and what
      `description` says, and `aliases`, [result, parameter] of each variable
      that the step writes.
    """
    attack = models.paper_attack()
    function, specs = export_lib.step_function(
        network, method, batch_size, attack
    )
    serialized = export_lib.hlo(function, specs)
    classes = network.output_shape[-1]
    parameters = [
        _parameter("images", specs[0], {"uniform": [0.0, 1.0]}),
        _parameter("labels", specs[1], {"uniform": [0, classes]}),
    ]
    concrete = function.get_concrete_function(*specs)
    variables = {id(each.handle): each for each in concrete.graph.variables}
    for captured in concrete.captured_inputs:
        # Most are variables' handles, some the values of constants.
        value = variables.get(id(captured), captured)
        name = "constant" if value is captured else value.name
        start = description(value.numpy())
        parameters.append(_parameter(name, value, start))
    module = keras_internals.hlo_proto(b"").hlo_module
    module.ParseFromString(serialized)
    shapes = [list(p.dimensions) for p in module.host_program_shape.parameters]
    if shapes != [parameter["shape"] for parameter in parameters]:
        raise ValueError(
            "Expected a parameter for each tensor of the batch and each "
            f"variable, in order; received a module with {shapes}."
        )
    return serialized, {
        "method": method,
        "batch_size": batch_size,
        "epsilon": attack.epsilon,
        "parameters": parameters,
        "aliases": [
            [entry.output_shape_index[0], entry.parameter_number]
            for entry in module.input_output_alias.entries
        ],
    }


def _parameter(name, spec, start):
    shape, dtype = spec.shape.as_list(), tf.as_dtype(spec.dtype).name
    return {"name": name, "shape": shape, "dtype": dtype, **start}


def description(value):
    """What stands for an array: its one value, its few values or its moments.

    Returns:
      {"fill": number}, {"values": list} or {"normal": [mean, standard
      deviation]}.
    """
    if np.all(value == value.flat[0]):
        return {"fill": value.flat[0].item()}
    if value.size <= _FEW:
        return {"values": [float(each) for each in value.flat]}
    return {"normal": [float(value.mean()), float(value.std())]}
