"""The options of a training step.

A `Step` holds the options of one step type; users pass it as
`ConAdvModel(step=...)`. It builds a `runner.StepRunner`, which executes the
training steps of a compiled model.
"""

import dataclasses
import math
from typing import Any
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf.attacks import loss as loss_lib
from conadv_tf.steps.context import TrainingContext

_ANY: Any = None  # Subclasses may redefine it with any type.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """A step type with its options.

    Subclasses are frozen dataclasses. Their fields are the options; the
    `__post_init__` method checks the values, and `check` refuses networks and
    attacks that the step cannot train. To save whole models, register the
    subclass with `tf.keras.utils.register_keras_serializable`; the options must
    then be numbers, strings or booleans.

    Attributes:
      runner: class of the run-time part, a `StepRunner`.
      requires_attack: True if the step needs an attack, False if it takes
        none.
      staleness: number of updates between the weights of an attack and the
        update that trains on its result; None without an attack. A custom
        step that attacks sets it.
      fraction: share of each local batch that is attacked, in (0, 1].
      weight: weight of the adversarial loss; the other losses have weight 1.
      microbatches: number of batches of the dataset per update.

    Example: a step that makes several updates with each batch.
      >>> class RepeatedUpdateRunner(ca.StepRunner):
      ...     def __call__(self, batch):
      ...         for _ in range(self.step.updates):
      ...             logs = self.update(batch)
      ...         return logs
      >>> @dataclasses.dataclass(frozen=True)
      ... class RepeatedUpdate(ca.Step):
      ...     updates: int = 2
      ...     runner = RepeatedUpdateRunner
      ...     requires_attack = False
      >>> layers = [tf.keras.Input((4,)), tf.keras.layers.Dense(3)]
      >>> network = tf.keras.Sequential(layers)
      >>> model = ca.ConAdvModel(network, None, step=RepeatedUpdate())
      >>> model.compile("sgd", tf.keras.losses.MeanSquaredError())
      >>> _ = model.train_on_batch(tf.ones([8, 4]), tf.ones([8, 3]))
      >>> int(model.optimizer.iterations)
      2
    """

    # Without annotations these are no fields; a subclass may redefine them as
    # fields.
    runner = _ANY
    requires_attack = True
    staleness = _ANY
    fraction = 1.0
    weight = 1.0
    microbatches = 1

    def __post_init__(self) -> None:
        """Converts NumPy scalars among the options to Python numbers."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.generic):
                object.__setattr__(self, field.name, value.item())

    def check(self, network: tf.keras.Model, attack: Any, views: int) -> None:
        """Raises a ValueError for a combination that the step cannot train.

        Args:
          network: functional network, as the user passed it.
          attack: the attack, or None.
          views: number of views of each image, 1 or 2.
        """
        name = type(self).__name__
        known = [field.name for field in dataclasses.fields(self)]
        annotated = vars(type(self)).get("__annotations__", {})
        if missing := [each for each in annotated if each not in known]:
            raise ValueError(
                f"Expected {name} to be a dataclass; received a class whose "
                f"{missing} are no fields. Decorate it with "
                "@dataclasses.dataclass(frozen=True)."
            )
        if attack is None and self.requires_attack:
            raise ValueError(
                f"Expected an attack with step={name}(...), for example "
                "ca.PGD(8 / 255); received attack=None. For plain training "
                "leave step out or pass step=ca.Plain()."
            )
        if attack is not None and not self.requires_attack:
            raise ValueError(
                f"Expected attack=None with step={name}(...), which does not "
                f"attack; received {attack!r}. Pass attack=None, or choose a "
                "step that attacks, for example step=ca.Concurrent()."
            )
        if views == 2 and attack is None:
            raise ValueError(
                "Expected views=1 without an attack; received views=2. For "
                "plain training on augmented images pass only these."
            )

    def check_compiled(self, loss: Any, steps_per_execution: int) -> None:
        """Raises a ValueError for arguments of `compile` that do not fit.

        Args:
          loss: the compiled Keras loss.
          steps_per_execution: number of steps that Keras runs in one call.
        """
        if self.fraction != 1:
            loss_lib.check_mean(
                loss,
                f"ca.{type(self).__name__}(fraction={self.fraction!r})",
                "whose sub-batches have different sizes",
            )

    @property
    def attacking_step(self) -> "Step":
        """The step that attacks: this one, unless it starts another one."""
        return self

    def cost(self, attack: Any, views: int = 1) -> float:
        """Returns the arithmetic of a step, where plain training has 1.

        A forward and a backward pass by weights and images each count 1/3. The
        random start, the projection and the update are not counted.

        Args:
          attack: the attack, or None.
          views: number of views of each image, 1 or 2.
        """
        if attack is None:
            return float(views)
        passes = 1 + 2 / 3 * getattr(attack, "num_steps", 1)
        return views + self.fraction * passes

    def check_strategy(self, strategy: tf.distribute.Strategy) -> None:
        """Raises a ValueError if `fit` cannot use the step with a strategy."""
        return

    def check_single_batch(self) -> None:
        """Raises a ValueError if `train_on_batch` cannot execute the step."""
        return

    def build(self, context: TrainingContext) -> Any:
        """Returns the run-time part.

        Args:
          context: the `TrainingContext` of a compiled model, under its strategy
            scope.

        Returns:
          A `StepRunner`.
        """
        if self.runner is None:
            raise ValueError(
                f"Expected {type(self).__name__}.runner to be a subclass of "
                "ca.StepRunner; received None. Set it in the class body."
            )
        return self.runner(self, context)

    def get_config(self) -> dict[str, Any]:
        """Returns the options, JSON-serializable."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Step":
        """Returns the step that `get_config` described."""
        return cls(**config)


def serialize(step: Step) -> dict[str, Any]:
    """Returns the JSON-serializable form of a step.

    Raises:
      ValueError: if the class of the step is not registered with Keras.
    """
    classes = (type(step), type(step.attacking_step))
    names = map(tf.keras.utils.get_registered_name, classes)
    if tuple(map(tf.keras.utils.get_registered_object, names)) != classes:
        raise ValueError(
            "Expected a step whose class is registered with "
            "tf.keras.utils.register_keras_serializable, to save the model; "
            f"received {step!r}. Register the class, or save the weights "
            "(save_weights) or the exported network (export_network().save)."
        )
    return tf.keras.utils.serialize_keras_object(step)


def deserialize(
    config: dict[str, Any], custom_objects: Optional[dict[str, Any]] = None
) -> Step:
    """Returns the step that `serialize` described."""
    return tf.keras.utils.deserialize_keras_object(
        config, custom_objects=custom_objects
    )


def check_integer(name: str, value: Any, low: int, hint: str = "") -> None:
    """Raises a ValueError if a field is no integer >= low."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ValueError(
            f"Expected {name} to be an integer >= {low}{hint}; received "
            f"{value!r}."
        )


def check_fraction(value: Any) -> None:
    """Raises a ValueError if a fraction does not lie in (0, 1]."""
    if not _is_number(value) or not 0 < value <= 1:
        raise ValueError(
            "Expected fraction in (0, 1], the share of each local batch that "
            f"is attacked; received {value!r}. To train without an attack pass "
            "attack=None."
        )


def check_weight(value: Any) -> None:
    """Raises a ValueError if a weight is no finite number >= 0."""
    if not _is_number(value) or not 0 <= value < math.inf:
        raise ValueError(
            "Expected weight to be a finite number >= 0, where 1 gives the "
            f"adversarial loss the weight of the clean one; received {value!r}."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
