"""The protocol of a way to step.

Checkpoints, memory accounting, resets and `ConAdvModel` know no more of a step
than this. Adding a way to step is one file with a subclass, and its name in
`ways.py`.
"""

import abc
from collections.abc import Callable
from typing import Any
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.attacks import loss as loss_lib
from conadv_tf.distribution import assign_local
from conadv_tf.steps import batch as batch_lib
from conadv_tf.steps import batch_spec
from conadv_tf.steps.attack_pass import AttackPass
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.options import Options
from conadv_tf.steps.parts import CleanLoss
from conadv_tf.steps.parts import Loss
from conadv_tf.steps.parts import PartsLoss
from conadv_tf.steps.shadow_weights import ShadowWeights
from conadv_tf.steps.update import Update

# How a checkpoint names what a `PipelinedStep` keeps of the data.
PENDING = "pending"


class Step(abc.ABC):
    """One way to make a training step of a batch that is received.

    Made anew by each `compile` of a `ConAdvModel`, under its strategy scope;
    it holds what a step keeps besides weights and optimizer.

    Attributes:
      loss: the `Loss` of a batch, with its metrics.
      update: the `Update` of the weights by it.
      attack: the `AttackPass`, or None.
      shadow: the `ShadowWeights` that attacks read, or None where they read
        the weights themselves.
      batch_size_hint: local batch size, where `fit` knows it.
      labels: TensorSpec of a local batch of labels, once a step is traced.

    Args:
      model: a compiled `ConAdvModel`.
      loss: what `attacks.loss.single_loss` returned.
    """

    # Groups of variables (the first part of their names) that a checkpoint
    # leaves out, since each step writes them before it reads them, or the host
    # has read them.
    unsaved: tuple[str, ...] = ("out_of_range",)
    # Parts of a batch that are trained on through the auxiliary batch norm.
    auxiliary: tuple[str, ...] = ("adversarial",)

    def __init__(self, model: tf.keras.Model, loss: Any) -> None:
        self._model = model
        self._is_built = False
        self.batch_size_hint: Optional[int] = None
        self.labels: Optional[tf.TensorSpec] = None
        self.shadow: Optional[ShadowWeights] = None
        self.attack: Optional[AttackPass] = None
        self.loss: Loss = CleanLoss(model)
        if model.attack is not None:
            self.loss = PartsLoss(model, loss, self.auxiliary)
            self.attack = AttackPass(
                model.attack, loss_lib.attack_loss(loss), model.seed
            )
        self.update = Update(model, self.loss)

    # --- What a way to step says of itself ----------------------------------

    @staticmethod
    @abc.abstractmethod
    def is_asked_for(options: Options) -> bool:
        """Whether these options ask for this way to step."""

    @classmethod
    def check(cls, options: Options, network: tf.keras.Model) -> None:
        """Raises a ValueError for what does not go together with it.

        Args:
          options: the `Options`.
          network: functional network, as the user passed it.
        """
        return

    @classmethod
    def check_compiled(cls, loss: Any, steps_per_execution: int) -> None:
        """Raises a ValueError for what `compile` may not be given.

        Args:
          loss: as in `__init__`.
          steps_per_execution: steps that Keras makes in one call.
        """
        return

    def prepare(self, element_spec: Any, static: bool) -> None:
        """Makes what is needed before the first trace for a kind of data.

        Args:
          element_spec: of the iterator that batches come from.
          static: whether shapes must be static, as XLA needs them.

        Raises:
          ValueError: if such data do not go with what was received before.
        """
        return

    @abc.abstractmethod
    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """One training step of one replica.

        Args:
          batch: what `receive` returned.

        Returns:
          The logs of `fit`.
        """

    def train_on(self, data: Any) -> dict[str, tf.Tensor]:
        """What `train_step` does, in `fit` or in a loop of a user's own.

        Args:
          data: what Keras hands to `train_step`.

        Returns:
          The logs of `fit`.

        Raises:
          ValueError: if such a step is only made by `fit`.
        """
        return self(self.receive(data))

    def variables(self) -> dict[str, tf.Variable]:
        """All that it keeps, by a name that is the same in every process."""
        found = self.update.guarded.variables()
        if self.attack is not None:
            found.update(self.attack.variables())
        if self.shadow is not None:
            found.update(self.shadow.variables())
        return found

    def reset(self) -> None:
        """Forgets what lies between two steps (across replicas)."""
        if self.shadow is not None:
            self.shadow.finalize()
        if self.attack is not None:
            self.attack.reset(self._model.optimizer.iterations.read_value())

    def restore(self, values: dict[str, list[np.ndarray]]) -> None:
        """Assigns what a checkpoint has of `variables`.

        Args:
          values: {name: an array for each replica of this process}.

        Raises:
          ValueError: if it was made by another way to step, or with another
            number of replicas.
        """
        strategy = self._model.distribute_strategy
        with strategy.scope():
            self.reset()
        own = {
            name: variable
            for name, variable in self.saved_variables().items()
            if group_of(name) != PENDING
        }
        missing = sorted(set(own) - set(values))
        if missing:
            raise ValueError(
                f"Expected a checkpoint with {missing}; it has "
                f"{sorted(values)}. It was made by a model with another "
                "attack, staleness or number of micro-batches, or by an older "
                "version."
            )
        for name, variable in own.items():
            assign_local(strategy, variable, values[name])

    # --- What Keras asks ----------------------------------------------------

    def saved_variables(self) -> dict[str, tf.Variable]:
        """Those of `variables` that a checkpoint needs."""
        return {
            name: variable
            for name, variable in self.variables().items()
            if group_of(name) not in self.unsaved
        }

    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """The metrics besides Keras's own."""
        return self.loss.metrics()

    def receive(self, data: Any) -> Batch:
        """The `Batch` of what Keras hands to `train_step`."""
        batch = batch_lib.received(
            data,
            self._model.views,
            self._local_batch_size(),
            self._model.network.input_shape,
            getattr(self._model.attack, "value_range", None),
            self._model.adversarial_fraction,
        )
        self.labels = tf.TensorSpec(batch.labels.shape, batch.labels.dtype)
        return batch

    def train_function(
        self, make: Callable[[], Callable[[Any], Any]]
    ) -> Callable[[Any], Any]:
        """The function that Keras calls with an iterator.

        Args:
          make: makes Keras's own, not traced yet, anew at each call.
        """
        return make()

    def built_train_function(
        self, make: Callable[[], Callable[[Any], Any]]
    ) -> Callable[[Any], Any]:
        """`train_function`, after creating the optimizer's slots and metrics.

        Keras leaves that to the first step; but a trace that creates variables
        is made a second time, without, and a conditional may create none.
        """
        train_function = self.train_function(make)

        def built(iterator: Any) -> Any:
            if not self._is_built:
                with self._model.distribute_strategy.scope():
                    self._create_variables(iterator.element_spec)
                self._is_built = True
            return train_function(iterator)

        return built

    def _create_variables(self, element_spec: Any) -> None:
        self.update.guarded.create_slots(self._model.optimizer)
        labels = batch_spec.labels_spec(element_spec)
        if labels is not None:
            keras_internals.build_metrics(
                self._model,
                tf.constant(batch_spec.example_labels(labels)),
                tf.zeros([1, *self._model.network.output_shape[1:]]),
            )

    def _local_batch_size(self) -> Optional[int]:
        """Static size of a received batch, where it is known; else None."""
        return None


def group_of(name: str) -> str:
    """The group of a variable that `Step.variables` names."""
    return name.partition("/")[0]
