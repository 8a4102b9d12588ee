"""Variables that layers other than batch norms write in training mode.

Examples are the statistics of a user's own normalization layer, the vectors of
a spectral normalization, and counters. Only batch norms have one set of
statistics for clean images and another one for adversarial images.
"""

import warnings

import tensorflow as tf

from conadv_tf import keras_graph
from conadv_tf import keras_internals
from conadv_tf.network_checks import name_and_class
from conadv_tf.networks.layer_graph import graph_layers
from conadv_tf.networks.layer_graph import is_custom
from conadv_tf.networks.layer_graph import repeat_first_call


def state_variables(network: tf.keras.Model) -> list[tf.Variable]:
    """Returns the variables that a training pass of a network may write.

    They are untrained by their creator's choice. Weights of frozen layers,
    batch norms and preprocessing layers are not among them.

    Args:
      network: functional network.
    """
    others = {
        id(variable)
        for layer in keras_internals.flatten_layers(network)
        if isinstance(
            layer,
            (
                tf.keras.layers.BatchNormalization,
                keras_internals.PreprocessingLayer,
            ),
        )
        for variable in layer.variables
    }
    return [
        variable
        for variable in network.non_trainable_variables
        if not variable.trainable and id(variable) not in others
    ]


def writable_in_replica(variables: list[tf.Variable]) -> list[tf.Variable]:
    """Returns the variables that a replica of the current strategy may assign.

    A layer can write no others in a training step. Variables that sum over the
    replicas are left out, because an assignment would sum too.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync == 1:
        return variables
    aggregation = tf.VariableAggregation
    return [
        each
        for each in variables
        if each.synchronization == tf.VariableSynchronization.ON_READ
        or each.aggregation not in (aggregation.NONE, aggregation.SUM)
    ]


def warn_of_layer_state(network: tf.keras.Model) -> None:
    """Warns about custom layers that write variables in training mode.

    Args:
      network: functional network, which is to be attacked.
    """
    state = {id(variable) for variable in state_variables(network)}
    names = [
        name_and_class(layer)
        for layer in graph_layers(network)
        if any(id(variable) in state for variable in layer.variables)
        and is_custom(layer)
        and _writes_variables(layer)
    ]
    if names:
        warnings.warn(
            f"Network {network.name!r} has layers that write variables in "
            f"training: {', '.join(names)}. They receive clean and adversarial "
            "images as one batch. If evaluation uses what they write, such as "
            "moving statistics, replace them by tf.keras.layers."
            "BatchNormalization, which gets separate statistics."
        )


def _writes_variables(layer: tf.keras.layers.Layer) -> bool:
    """Traces a layer alone; whether an operation writes a variable."""
    run = tf.distribute.get_strategy().run
    specs = [
        tf.TensorSpec(each.shape, each.dtype)
        for each in keras_graph.inputs_of(layer)
    ]

    @tf.function(autograph=False)
    def call(*inputs: tf.Tensor) -> None:
        run(lambda: repeat_first_call(layer, inputs))

    try:
        graph = call.get_concrete_function(*specs).graph
    except Exception:  # A layer that cannot be traced alone is not blamed.
        return False
    return any(map(_writes, graph.get_operations()))


def _writes(operation: tf.Operation) -> bool:
    if operation.type.startswith(("Assign", "ResourceScatter")):
        return True
    try:  # A call of a function, such as a branch of a conditional.
        read_only = operation.get_attr("_read_only_resource_inputs")
    except ValueError:
        return False
    return any(
        each.dtype == tf.resource and index not in read_only
        for index, each in enumerate(operation.inputs)
    )
