"""The training step of each method as XLA's intermediate representation.

A step is lowered with static shapes from specs alone: nothing is computed and
no data are needed. Variables become parameters of the module, and results
that alias them.
"""

import tensorflow as tf

import conadv_tf as ca
from conadv_tf.networks import conversion
from tools import phased_export
from tools import training_step
from tools.tpu_tables import PHASES

METHODS = ("baseline", "attack", "disadv", "conadv", *PHASES)


def step_function(network, method, batch_size, attack, staleness=1, views=1):
    """One replica's step of a method as a function of its batch.

    Args:
      network: functional network, images to logits.
      method: "baseline", "disadv", "conadv" or "attack": the attack alone,
        on a batch and through the auxiliary batch norm as in a step; or one
        of `PHASES`, a phase of "conadv" in phased placement.
      batch_size: images of one step on one core; of a phase, those of the
        working batch.
      attack: `ca.PGD` or the like; "baseline" ignores it.
      staleness: tau of "conadv".
      views: 1, or 2 with an augmented view.

    Returns:
      (tf.function with jit_compile, flat tuple of its TensorSpecs).

    Raises:
      ValueError: if the method is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"Expected method in {METHODS}; received {method!r}.")
    images, labels = training_step.batch_specs(network, batch_size)
    if method in PHASES:
        return phased_export.phase_function(
            network, method, images, labels, _Named(attack)
        )
    if method == "attack":
        # As in a step, the seed is not a constant: a good part of the random
        # draws could be folded away if it were.
        seed = tf.TensorSpec([2], tf.int64)
        function = _attack_function(network, attack)
        return tf.function(function, jit_compile=True), (images, labels, seed)
    if method == "baseline":
        model = ca.ConAdvModel(network)
    else:
        model = ca.ConAdvModel(
            network,
            _Named(attack),
            staleness=staleness if method == "conadv" else 0,
            views=views,
        )
    model.compile(
        training_step.optimizer(), training_step.loss(), jit_compile=True
    )
    specs = (images if model.views == 1 else (images, images), labels)
    function = training_step.step_function(model, specs)
    return function, tuple(tf.nest.flatten(specs))


class _Named:
    """An attack whose operations can be told from the update's by name."""

    def __init__(self, attack):
        self.value_range = attack.value_range
        self._attack = attack

    def __call__(self, *args, **kwargs):
        with tf.name_scope("attack"):
            return self._attack(*args, **kwargs)


def _attack_function(network, attack):
    # The network that a step's attack runs on.
    network = conversion.for_attacks(network, branches=2)

    def auxiliary_logits(images):
        with ca.batch_norm_branch("auxiliary", update_statistics=False):
            return network(images, training=True)

    def function(images, labels, seed):
        return _Named(attack)(auxiliary_logits, images, labels, seed)

    return function


def hlo(function, specs):
    """Serialized HLO of a jit-compiled function.

    Args:
      function: tf.function with jit_compile=True.
      specs: TensorSpecs of its arguments, all of static shape.

    Returns:
      bytes, a serialized HloModuleProto.
    """
    return function.experimental_get_compiler_ir(*specs)(stage="hlo_serialized")


def operations(function, specs):
    """The kinds of operations that a function runs, with their types.

    Args:
      function: tf.function.
      specs: TensorSpecs of its arguments.

    Returns:
      Sorted list of (name, {attribute: [names of types]}) without
      repetitions; bodies of conditionals and of called functions included.
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
