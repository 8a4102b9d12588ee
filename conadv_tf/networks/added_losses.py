"""Losses and constraints that layers have and their configs do not.

`layer.add_loss(lambda: ...)` and `network.add_loss(lambda: ...)` add penalties
to a network, such as weight decay. A copy that is made from configs lacks them.
Its regularizers and constraints may also differ, if an attribute such as
kernel_regularizer was set after the layer was built.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import functools
from typing import Any

import numpy as np
import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf import keras_layers
from conadv_tf.batch_norm import SplitBatchNormalization
from conadv_tf.keras_layers import LossFunction
from conadv_tf.network_checks import name_and_class
from conadv_tf.networks.rebinding import Rebinding

_Pair = tuple[tf.keras.layers.Layer, tf.keras.layers.Layer]
# Penalties of equal weights differ at most by rounding.
_TOLERANCE = 1e-5


def copy_losses(network: tf.keras.Model, copy: tf.keras.Model) -> None:
    """Adds the losses of a network's layers to their copies.

    A loss that the config creates, such as a weight regularizer, stays. Any
    other loss is a function without arguments that refers to layers, variables
    or the network. The copy gets a function that refers to the copies of these
    objects. Both functions are evaluated: the new one must read the copies of
    the variables that the old one reads, and return the same penalty.

    Args:
      network: functional Keras model.
      copy: its copy, layer by layer, with the same weights.

    Raises:
      ValueError: if a loss cannot be shown to concern the copy's variables, or
        if a regularizer or a constraint differs in the copy.
    """
    pairs = list(_pairs(network, copy))
    for old, new in pairs:
        _check_constraints(old, new)
        created = keras_layers.loss_functions(new)
        losses = []
        for loss in keras_layers.loss_functions(old):
            same = [each for each in created if _code(each) is _code(loss)]
            if same and _has_variables(loss):
                # The copy of the regularizer has other variables.
                created.remove(same.pop())
            if same:
                created.remove(same[0])
                if not _are_equal(loss, same[0]):
                    raise _changed_after_building(old, "regularizer")
            losses.append(
                same[0] if same else _moved(loss, network, [*pairs, (old, new)])
            )
        if created:
            raise _changed_after_building(old, "regularizer")
        keras_layers.set_loss_functions(new, losses)


def _pairs(network: tf.keras.Model, copy: tf.keras.Model) -> Iterator[_Pair]:
    """Yields (layer, its copy) of all layers at any depth, and of models.

    Of a split batch norm, yields the branches in place of the layer.
    """
    yield network, copy
    for old, new in zip(network.layers, copy.layers):
        was_split, is_split = (
            isinstance(layer, SplitBatchNormalization) for layer in (old, new)
        )
        if new is old:
            continue
        if isinstance(old, tf.keras.Model):
            yield from _pairs(old, new)
        elif is_split and not was_split:
            yield from ((old, branch) for branch in new.branch_layers)
        elif was_split and not is_split:
            yield old.branch_layers[0], new
        else:
            yield from zip(
                keras_internals.flatten_layers(old),
                keras_internals.flatten_layers(new),
            )


def _variables(
    old: tf.keras.layers.Layer, new: tf.keras.layers.Layer
) -> list[tuple[Any, Any]]:
    """Returns (variable, its copy) pairs of a layer; none of a model."""
    if isinstance(old, tf.keras.Model):
        return []
    return list(zip(old.variables, new.variables))


def _code(loss: LossFunction) -> Any:
    """Returns an object that tells one kind of loss from another."""
    while isinstance(loss, functools.partial):
        loss = loss.func
    loss = getattr(loss, "__func__", loss)
    return getattr(loss, "__code__", type(loss))


def _has_variables(loss: LossFunction) -> bool:
    """Whether a weight regularizer holds variables, such as its strength."""
    function = getattr(loss, "func", loss)
    cells = getattr(function, "__closure__", None) or ()
    return any(
        isinstance(value, tf.Variable)
        for cell in cells
        if isinstance(cell.cell_contents, tf.keras.regularizers.Regularizer)
        for value in vars(cell.cell_contents).values()
    )


def _are_equal(one: LossFunction, other: LossFunction) -> bool:
    """Whether two losses return the same penalty, or cannot be compared."""
    try:
        value, received, again = (
            np.asarray(loss(), np.float64) for loss in (one, other, one)
        )
    except Exception:  # The loss of a custom layer may need a call before.
        return True
    is_random = not np.array_equal(value, again, equal_nan=True)
    return is_random or np.allclose(
        value, received, rtol=_TOLERANCE, equal_nan=True
    )


def _moved(
    loss: LossFunction, network: tf.keras.Model, pairs: Sequence[_Pair]
) -> LossFunction:
    """Returns a loss that refers to the copies of what a loss refers to.

    Args:
      loss: function that was given to `add_loss`.
      network: the network that is copied.
      pairs: (layer, its copy); the last one has the loss.

    Raises:
      ValueError: if the new loss does not concern the copy.
    """
    variables = [pair for each in pairs for pair in _variables(*each)]
    moved = Rebinding([*pairs, *variables])(loss)
    try:
        is_equal = _reads_copies(loss, moved, network, pairs)
    except Exception as error:
        raise _not_movable(pairs[-1][0]) from error
    if not is_equal:
        raise _not_movable(pairs[-1][0])
    return moved


def _reads_copies(
    loss: LossFunction,
    moved: LossFunction,
    network: tf.keras.Model,
    pairs: Sequence[_Pair],
) -> bool:
    """Whether a moved loss reads the copies of all variables of the other."""
    first: dict[int, int] = {}  # {handle: handle of the first replica}
    copies: dict[int, set[int]] = {}
    for variable in network.variables:
        copies[_key(variable, first)] = set()
    for old, new in pairs:
        for variable, copy in _variables(old, new):
            found = copies.setdefault(_key(variable, first), set())
            found.add(_key(copy, first))
    before, after = _variables_read(loss, first), _variables_read(moved, first)
    # The loss of a batch norm concerns one branch of a split one.
    own = {
        _key(variable, first): {_key(copy, first)}
        for variable, copy in _variables(*pairs[-1])
    }
    if before <= set(own):
        copies.update(own)
    expected = set().union(*(copies.get(key, {key}) for key in before))
    if after != expected:
        return False
    return len(after) != len(before) or _are_equal(loss, moved)


def _key(variable: Any, first: dict[int, int]) -> int:
    """Returns the id of a variable, and notes its copies on other replicas."""
    ids = [id(handle) for handle in keras_layers.handles(variable)]
    first.update(dict.fromkeys(ids, ids[0]))
    return ids[0]


def _variables_read(loss: LossFunction, first: dict[int, int]) -> set[int]:
    """Returns the keys of the variables that a loss reads."""
    function = tf.function(loss, autograph=False).get_concrete_function()
    return {
        first.get(id(each), id(each))
        for each in function.captured_inputs
        if each.dtype == tf.resource
    }


def _not_movable(layer: tf.keras.layers.Layer) -> ValueError:
    return ValueError(
        f"The loss that was added to {name_and_class(layer)} with add_loss "
        "cannot be moved to the copy of the network that is trained. The copy "
        "of the loss must read the copies of the same variables. Refer to the "
        "layer in the function, for example `layer.add_loss(lambda layer=layer:"
        " 1e-4 * tf.nn.l2_loss(layer.kernel))`; or create the layer with a "
        "kernel_regularizer; or add the loss to the copy, after ConAdvModel("
        "network, ...) and before compile: `layer = model.network.get_layer("
        "name)`."
    )


def _check_constraints(
    old: tf.keras.layers.Layer, new: tf.keras.layers.Layer
) -> None:
    for variable, copy in _variables(old, new):
        one, other = (
            getattr(each, "constraint", None) for each in (variable, copy)
        )
        if type(one) is not type(other) or _config(one) != _config(other):
            raise _changed_after_building(old, "constraint")


def _config(constraint: Any) -> Any:
    get_config = getattr(constraint, "get_config", dict)
    return get_config()


def _changed_after_building(
    layer: tf.keras.layers.Layer, kind: str
) -> ValueError:
    return ValueError(
        f"A {kind} of {name_and_class(layer)} differs from that of its copy, "
        "which is made from the layer's config. Usually an attribute such as "
        f"layer.kernel_{kind} was set after the layer was built, which has no "
        "effect in Keras. Set the attribute to the value that it had, or give "
        "the argument to the layer's constructor. To apply the changed value, "
        "build the network from its config: new = tf.keras.models.clone_model("
        "network); new.set_weights(network.get_weights())."
    )
