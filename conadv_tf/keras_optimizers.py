"""Access to private features of optimizers, like `keras_internals`."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any
from typing import Optional

import tensorflow as tf

# Packages whose optimizers may override methods without a change of meaning.
_KNOWN = ("conadv_tf", "keras", "tensorflow", "tensorflow_addons", "tf_keras")
_AGGREGATION = (
    "aggregate_gradients",
    "_aggregate_gradients",
    "_transform_unaggregated_gradients",
)


# Names of variables without weight decay, as regular expressions.
DECAY_PATTERNS = "_exclude_from_weight_decay_names"
# State of a legacy optimizer by variable. It creates more for new variables.
LEGACY_SLOTS = "_slots"
# Numbers, tensors or functions that return them.
LEGACY_HYPERPARAMETERS = "_hyper"


def is_optimizer(value: Any) -> bool:
    """Returns whether an object is a Keras optimizer, possibly a legacy one."""
    optimizers = tf.keras.optimizers
    return isinstance(
        value, (optimizers.Optimizer, optimizers.legacy.Optimizer)
    )


def variable_id(variable: tf.Variable) -> str:
    """Returns the id by which optimizers know a variable in this process."""
    return variable._unique_id


def exclude_copies_from_decay(
    optimizer: tf.keras.optimizers.Optimizer,
    copied: Mapping[str, tuple[str, Sequence[tf.Variable]]],
) -> None:
    """Excludes copies of variables that have no weight decay.

    `exclude_from_weight_decay` would replace what is excluded so far.

    Args:
      optimizer: Keras optimizer.
      copied: {id of a variable: (its name, its copies)}.
    """
    excluded = getattr(optimizer, "_exclude_from_weight_decay", [])
    copies = [
        variable_id(copy)
        for key in excluded
        for copy in copied.get(key, ("", []))[1]
    ]
    if copies:
        optimizer._exclude_from_weight_decay = [*excluded, *copies]


def compute_gradients(
    optimizer: tf.keras.optimizers.Optimizer,
    loss: tf.Tensor,
    variables: Sequence[tf.Variable],
    tape: tf.GradientTape,
) -> list[Optional[tf.Tensor]]:
    """Returns the gradients of a loss; None for variables it does not use.

    The optimizer computes them instead of the tape, because it may scale the
    loss.

    Args:
      optimizer: Keras optimizer, possibly a legacy one.
      loss: scalar.
      variables: variables to differentiate with respect to.
      tape: the tape that recorded the loss.
    """
    compute = getattr(optimizer, "compute_gradients", None)
    if compute is None:  # A legacy optimizer, such as tensorflow-addons's.
        compute = optimizer._compute_gradients
    # A subclass may leave out variables or change their order.
    gradients = {
        id(variable): gradient
        for gradient, variable in compute(loss, variables, tape=tape)
    }
    return [gradients.get(id(variable)) for variable in variables]


def check_minimize(optimizer: tf.keras.optimizers.Optimizer) -> None:
    """Raises a ValueError for an optimizer with its own `minimize`.

    A step computes gradients, checks them and then applies them. A
    `LossScaleOptimizer` does not call `minimize` of its inner optimizer either.

    Args:
      optimizer: Keras optimizer, possibly a legacy one.
    """
    if _overrides(optimizer, "minimize"):
        raise ValueError(
            "Expected an optimizer with Keras's `minimize`, which ConAdvModel "
            "does not call: it checks gradients before it applies them. "
            f"Received {type(optimizer).__name__}, which overrides it. "
            "Override `compute_gradients` (`_compute_gradients` of a legacy "
            "optimizer) or `apply_gradients` instead."
        )


def has_own_apply_gradients(optimizer: tf.keras.optimizers.Optimizer) -> bool:
    """Returns whether a class of the user overrides `apply_gradients`.

    Keras passes it the gradients of one replica and no other argument. It may
    not know the argument that says that gradients are summed over the replicas,
    and may compute something else if it is passed.

    Args:
      optimizer: Keras optimizer, possibly a legacy one.
    """
    return _overrides(optimizer, "apply_gradients")


def has_own_aggregation(optimizer: tf.keras.optimizers.Optimizer) -> bool:
    """Returns whether the user defines how gradients are summed over replicas.

    Args:
      optimizer: Keras optimizer, possibly a legacy one.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    function = getattr(optimizer, "gradient_aggregator", None)
    return (function is not None and not _is_known(function)) or any(
        _overrides(optimizer, name) for name in _AGGREGATION
    )


def aggregate_gradients(
    optimizer: tf.keras.optimizers.Optimizer, pairs: list[tuple[Any, Any]]
) -> list[tuple[Any, Any]]:
    """Sums gradients over the replicas as `apply_gradients` does.

    Args:
      optimizer: Keras optimizer, possibly a legacy one.
      pairs: (gradient of this replica, variable).

    Returns:
      (gradient, variable) pairs.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if hasattr(optimizer, "aggregate_gradients"):
        pairs = optimizer.aggregate_gradients(pairs)
    else:
        pairs = optimizer._transform_unaggregated_gradients(pairs)
        pairs = optimizer._aggregate_gradients(pairs)
    return [pair for pair in pairs if pair[0] is not None]


def state(optimizer: tf.keras.optimizers.Optimizer) -> list[tf.Variable]:
    """Returns the variables of an optimizer and of optimizers that it holds.

    Args:
      optimizer: Keras optimizer, possibly a legacy one.
    """
    found = {id(each): each for each in optimizer.variables()}
    for value in vars(optimizer).values():
        if is_optimizer(value):
            found.update((id(each), each) for each in state(value))
    return list(found.values())


def _overrides(optimizer: Any, name: str) -> bool:
    """Whether a method was not defined by one of the known packages."""
    if name in vars(optimizer):
        return True
    classes = type(optimizer).__mro__
    owner = next((cls for cls in classes if name in vars(cls)), None)
    return owner is not None and not _is_known(owner)


def _is_known(thing: Any) -> bool:
    return getattr(thing, "__module__", "").split(".")[0] in _KNOWN


def create_slots(
    optimizer: tf.keras.optimizers.Optimizer, variables: Sequence[tf.Variable]
) -> None:
    """Creates an optimizer's variables immediately, outside of any graph.

    Otherwise the first update creates them, which fails in a conditional.
    """
    with tf.init_scope():
        if hasattr(optimizer, "build"):
            optimizer.build(variables)
        else:
            optimizer._create_all_weights(variables)


class Optimizer(tf.keras.optimizers.Optimizer):
    """Keras's optimizer, with public names for use by subclasses.

    Keras's own optimizers use private attributes. A subclass of this class
    defines `create_state` and `update_step`.

    Args:
      learning_rate: float or Keras `LearningRateSchedule`.
      **kwargs: arguments of `tf.keras.optimizers.Optimizer`.
    """

    def __init__(
        self,
        learning_rate: float
        | tf.keras.optimizers.schedules.LearningRateSchedule,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)

    def build(self, var_list: Sequence[tf.Variable]) -> None:
        """Creates the optimizer's variables, once."""
        super().build(var_list)
        if getattr(self, "_built", False):
            return
        self.create_state(var_list)
        self._built = True

    def create_state(self, variables: Sequence[tf.Variable]) -> None:
        """Creates the state of the subclass for these variables."""
        raise NotImplementedError

    def key(self, variable: tf.Variable) -> Any:
        """Returns the key of a variable, which is the same on all replicas."""
        return self._var_key(variable)

    def index(self, variable: tf.Variable) -> int:
        """Returns the index of a variable in the list of `create_state`."""
        return self._index_dict[self._var_key(variable)]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of Keras's optimizer and the learning rate."""
        rate = self._serialize_hyperparameter(self._learning_rate)
        return {**super().get_config(), "learning_rate": rate}
