"""Variables of the given network that an optimizer knows.

The model trains a copy of the network. An optimizer that was told of variables
before the copy was made would treat other variables than the user meant.
"""

from collections.abc import Iterator
import functools
import re
import types
from typing import Any

import tensorflow as tf

from conadv_tf import keras_optimizers
from conadv_tf.batch_norm import SplitBatchNormalization
from conadv_tf.networks.layer_graph import graph_layers

# {id of a variable: (its name, its copies)}. The ids are the optimizers'.
CopiedVariables = dict[str, tuple[str, list[tf.Variable]]]

# Attributes with regular expressions for names: of Keras, tensorflow-addons and
# `ca.LARS`.
_PATTERNS = (
    keras_optimizers.DECAY_PATTERNS,
    "exclude",
    "exclude_from_layer_adaptation",
    "exclude_from_weight_decay",
)


def copied_variables(
    network: tf.keras.Model, copy: tf.keras.Model
) -> CopiedVariables:
    """Returns the copies of a network's variables.

    A variable of a batch norm that was split has a copy in each branch.

    Args:
      network: functional Keras model.
      copy: its copy, layer by layer.
    """
    found: CopiedVariables = {}
    for old, new in zip(graph_layers(network), graph_layers(copy)):
        was_split, is_split = (
            isinstance(layer, SplitBatchNormalization) for layer in (old, new)
        )
        for target in new.branch_layers if is_split > was_split else [new]:
            for variable, other in zip(old.weights, target.weights):
                if not isinstance(variable, tf.Variable):
                    continue  # A table of a lookup layer.
                key = keras_optimizers.variable_id(variable)
                _, copies = found.setdefault(key, (variable.name, []))
                copies.append(other)
    return found


def translate(optimizer: Any, copied: CopiedVariables) -> None:
    """Makes an optimizer treat the copies like the variables that it knows.

    It extends exclusions from weight decay and from the layerwise rate, by
    variable or by name, and the layers of a tensorflow-addons MultiOptimizer.

    Args:
      optimizer: Keras optimizer.
      copied: result of `copied_variables`.

    Raises:
      ValueError: if the optimizer knows variables in another way.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    keras_optimizers.exclude_copies_from_decay(optimizer, copied)
    for attribute in _PATTERNS:
        _extend_patterns(optimizer, attribute, copied)
    for spec in getattr(optimizer, "optimizer_specs", ()):
        # A MultiOptimizer of tensorflow-addons knows weights by their names.
        for name, copies in copied.values():
            if name in spec["weights"]:
                names = {each.name for each in copies} - set(spec["weights"])
                spec["weights"].extend(sorted(names))
    for attribute in list(vars(optimizer)):
        if attribute in _PATTERNS or attribute.startswith("_self_"):
            continue  # TensorFlow lists attributes in `_self_` attributes.
        known = set(_attribute_references(optimizer, attribute, {}))
        if unknown := _without_copies(known, copied):
            raise ValueError(
                "Expected an optimizer that knows no variables of the network "
                "that you passed, because the model trains a copy of it; "
                f"received {type(optimizer).__name__}, whose attribute "
                f"{attribute!r} has {unknown}. Create a new optimizer, and "
                "give it the variables of model.network."
            )


def _extend_patterns(
    optimizer: Any, attribute: str, copied: CopiedVariables
) -> None:
    """Adds names of copies of variables that a pattern matches."""
    patterns = vars(optimizer).get(attribute)
    if not isinstance(patterns, (list, tuple)):
        return
    names = [
        f"^{re.escape(each.name)}$"
        for name, copies in copied.values()
        if any(re.search(pattern, name) for pattern in patterns)
        for each in copies
        if not any(re.search(pattern, each.name) for pattern in patterns)
    ]
    if names:
        setattr(optimizer, attribute, type(patterns)([*patterns, *names]))


def _without_copies(known: set[str], copied: CopiedVariables) -> list[str]:
    """Returns the variables that are known, but not all of their copies."""
    found = []
    for key, (name, copies) in copied.items():
        ids = {keras_optimizers.variable_id(each) for each in copies}
        names = {each.name for each in copies}
        by_name = {name, name.partition(":")[0]} & known
        if (key in known and not ids <= known) or (
            by_name and name not in names and not names <= known
        ):
            found.append(name)
    return found


def _attribute_references(
    optimizer: Any, attribute: str, seen: dict[int, Any]
) -> Iterator[str]:
    """Yields what an attribute of an optimizer holds, like `_references`."""
    if attribute != keras_optimizers.LEGACY_SLOTS:
        # A function that returns a number may hold layers for other purposes.
        with_layers = attribute != keras_optimizers.LEGACY_HYPERPARAMETERS
        yield from _references(vars(optimizer)[attribute], seen, with_layers)


def _references(
    value: Any, seen: dict[int, Any], with_layers: bool = True
) -> Iterator[str]:
    """Yields strings and ids of variables that an object holds."""
    is_layer = isinstance(value, tf.keras.layers.Layer)
    if id(value) in seen or (is_layer and not with_layers):
        return
    seen[id(value)] = value  # Kept alive, so that its id stays unique.
    inside: Any = ()
    if isinstance(value, str):
        yield value
    elif isinstance(value, tf.Variable):
        yield keras_optimizers.variable_id(value)
    elif isinstance(value, dict):
        inside = [*value.keys(), *value.values()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        inside = value
    elif is_layer:
        inside = value.variables
    elif isinstance(value, functools.partial):
        inside = [value.func, value.args, value.keywords]
    elif isinstance(value, types.MethodType):
        inside = [value.__self__, value.__func__]
    elif isinstance(value, types.FunctionType):
        cells = value.__closure__ or ()
        inside = [value.__defaults__, *map(_contents, cells)]
    elif keras_optimizers.is_optimizer(value):
        for attribute in vars(value):
            yield from _attribute_references(value, attribute, seen)
    elif hasattr(value, "deref"):  # The result of `tf.Variable.ref`.
        inside = [value.deref()]
    for each in inside:
        yield from _references(each, seen, with_layers)


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # A name that is not assigned yet.
        return None
