"""Exports the training step of each method as HLO.

A step is lowered with static shapes from specs alone: nothing is computed, and
no data are needed. Variables become parameters of the module, and results that
alias these parameters.
"""

import tensorflow as tf

import conadv_tf as ca
from conadv_tf.networks import conversion
from tools.step import models
from tools.tpu import roles

_plain, *_adversarial = models.METHODS
# The steps of one core in the order of the tables; "attack" omits the update.
METHODS = (_plain, "attack", *_adversarial)


def step_function(network, method, batch_size, attack):
    """Returns the training step of one replica as a function of its batch.

    Args:
      network: functional network from images to logits.
      method: one of `METHODS` or of `roles.ROLES`. "attack" attacks a batch
        through the auxiliary batch norm, as a training step does.
      batch_size: number of images of one step on one core; for a role, of the
        current batch.
      attack: a `ca.Attack`; "baseline" ignores it.

    Returns:
      (tf.function with jit_compile, flat tuple of its TensorSpecs).

    Raises:
      ValueError: if the method is unknown.
    """
    known = (*METHODS, *roles.ROLES)
    if method not in known:
        raise ValueError(f"Expected method in {known}; received {method!r}.")
    attack = _NamedAttack(attack)
    specs = models.batch_specs(network, batch_size)
    if method in roles.ROLES:
        return roles.role_function(network, method, *specs, attack)
    if method == "attack":
        # The seed is an argument, as in a training step: the compiler would
        # fold most of the random draws of a constant seed into constants.
        specs = *specs, tf.TensorSpec([2], tf.int64)
        function = _attack_function(network, attack)
        return tf.function(function, jit_compile=True), specs
    model = models.of_method(method, network, attack=attack, metrics=None)
    return model.runner.as_function(specs), specs


class _NamedAttack:
    """An attack whose operations have names that begin with a scope."""

    def __init__(self, attack):
        self.value_range = attack.value_range
        self._attack = attack

    def __call__(self, *args, **kwargs):
        with tf.name_scope("attack"):
            return self._attack(*args, **kwargs)

    def initial_points(self, *args):
        with tf.name_scope("attack"):
            return self._attack.initial_points(*args)

    def apply_gradient(self, *args):
        with tf.name_scope("attack"):
            return self._attack.apply_gradient(*args)


def _attack_function(network, attack):
    # The attack of a training step uses this form of the network.
    network = conversion.split_for_training(network, branches=2)

    def auxiliary_logits(images):
        with ca.batch_norm_branch("auxiliary", update_statistics=False):
            return network(images, training=True)

    return lambda *batch: attack(auxiliary_logits, *batch)


def hlo(function, specs):
    """Returns the HLO of a function as a serialized HloModuleProto.

    Args:
      function: tf.function with jit_compile=True.
      specs: TensorSpecs of its arguments, with static shapes.
    """
    return function.experimental_get_compiler_ir(*specs)(stage="hlo_serialized")


def operations(function, specs):
    """Lists the kinds of operations of a function with their types.

    Operations in branches and in called functions are included.

    Args:
      function: tf.function.
      specs: TensorSpecs of its arguments.

    Returns:
      Sorted list of distinct pairs (name, {attribute: [names of types]}).
    """
    graph_def = function.get_concrete_function(*specs).graph.as_graph_def()
    nodes = [node for node in graph_def.node if node.op != "Placeholder"]
    for body in graph_def.library.function:
        nodes += body.node_def
    found = {}
    for node in nodes:
        types = {
            key: [tf.as_dtype(each).name for each in _types(value)]
            for key, value in sorted(node.attr.items())
            if _types(value) and not key.startswith("_")
        }
        found[repr((node.op, types))] = (node.op, types)
    return [found[key] for key in sorted(found)]


def _types(attribute):
    if attribute.WhichOneof("value") == "type":
        return [attribute.type]
    return list(attribute.list.type)
