"""Exports the training step of each method as HLO.

A step is lowered with static shapes from specs alone: nothing is computed, and
no data are needed. Variables become parameters of the module, and results that
alias these parameters.
"""

import tensorflow as tf

import conadv_tf as ca
from conadv_tf.networks import conversion
from conadv_tf.steps import Batch
from tools.step import models
from tools.tpu.methods import METHODS
from tools.tpu.methods import ROLES


def step_function(network, method, batch_size, attack):
    """Returns the training step of one replica as a function of its batch.

    Args:
      network: functional network from images to logits.
      method: one of `METHODS` or of `ROLES`. "attack" attacks a batch
        through the auxiliary batch norm, as a training step does.
      batch_size: number of images of one step on one core; for a role, of the
        current batch.
      attack: a `ca.Attack`; "baseline" ignores it.

    Returns:
      (tf.function with jit_compile, flat tuple of its TensorSpecs).

    Raises:
      ValueError: if the method is unknown.
    """
    known = (*METHODS, *ROLES)
    if method not in known:
        raise ValueError(f"Expected method in {known}; received {method!r}.")
    attack = _NamedAttack(attack)
    specs = models.batch_specs(network, batch_size)
    if method in ROLES:
        return _role_function(network, method, *specs, attack)
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


def _role_function(network, role, images, labels, attack):
    """Returns the step of a replica in one role, with the whole current batch.

    The step of a real replica is a conditional over its roles and needs
    replicas in threes. Here each role is a separate step, and the gradients
    from other replicas are arguments. The all-reduce is left out, as for all
    methods, and so is the copy of a share of images into the current batch.

    Args:
      network: functional network from images to logits.
      role: one of `ROLES`.
      images: TensorSpec of the images of the current batch.
      labels: TensorSpec of their labels.
      attack: a `ca.Attack`.

    Returns:
      (tf.function with jit_compile, flat tuple of its TensorSpecs). The
      arguments are images and labels; for the attack also its seed and the
      gradients that the other replicas send.
    """
    model = ca.ConAdvModel(network, attack, step=ca.RotatingRoles())
    models.compiled(model, metrics=None)
    weights = model.network.trainable_variables
    runner = model.runner
    runner.update.create_slots()
    update = runner.update

    def attack_step(images, labels, seed, *gradients):
        statistics = update.snapshot_statistics()
        attacked = Batch(images, labels).attacked_sub_batch()
        adversarial = runner.attack.generate(model.network, attacked, seed)
        update.apply_gradients(list(gradients), statistics, after=adversarial)
        return adversarial

    def training_step(images, labels):
        statistics = update.snapshot_statistics()
        batch = Batch(images, labels, adversarial=images)
        name = role.removeprefix("role_")
        # The batch norms of the other branch have gradients from other
        # replicas.
        gradients = [
            tf.zeros_like(weight) if gradient is None else gradient
            for gradient, weight in zip(runner.gradients(batch, name), weights)
        ]
        update.apply_gradients(gradients, statistics, after=gradients)
        return model.get_metrics_result()

    function, specs = training_step, (images, labels)
    if role == "role_attack":
        gradients = [tf.TensorSpec(w.shape, w.dtype) for w in weights]
        seed = tf.TensorSpec([2], tf.int64)
        function, specs = attack_step, (images, labels, seed, *gradients)
    return tf.function(function, jit_compile=True), specs


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
