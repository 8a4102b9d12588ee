"""A Keras model that holds a step: `compile` and `fit` as it wants them."""

from collections.abc import Callable
import inspect
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf import steps
from conadv_tf.attacks import attack_loss_scaling
from conadv_tf.attacks import loss as loss_lib
from conadv_tf.callbacks import with_training_monitor
from conadv_tf.networks import SourceNetwork
from conadv_tf.networks import variables


class SteppedModel(tf.keras.Model):
    """A model whose training step is an object.

    Attributes:
      network: what is trained.
      step: the `steps.Step`; None before `compile`.

    Args:
      network: functional network, images to logits; trained as it is.
      way: class of the step.
      name: model name.
      given: what `network` is a copy of, if that may change.
    """

    train_function: Any  # Keras's attribute.

    def __init__(
        self,
        network: tf.keras.Model,
        way: type[steps.Step],
        name: str,
        given: Optional[SourceNetwork] = None,
    ) -> None:
        super().__init__(name=name, autocast=False)
        self.network = network
        self._way = way
        self._given = given
        # A plain object: Keras must not count its variables as weights.
        self.step: Optional[steps.Step] = None
        self._single_loss: Any = None
        self.part_accuracy: Optional[steps.PartAccuracy] = None
        # By these names losses and metrics may be given.
        self.output_names = network.output_names
        # A symbolic call builds the model and tells Keras what to save.
        self(
            tf.keras.Input(
                network.input_shape[1:], dtype=network.inputs[0].dtype
            )
        )

    def call(self, inputs: tf.Tensor, training: Any = None) -> tf.Tensor:
        """Logits through the main batch norm."""
        return self.network(inputs, training=training)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step on one replica's batch; see `steps.Step`.

        A loop of your own may call it: `strategy.run(model.train_step,
        (batch,))`, in a `tf.function` or not. `fit` begins with
        `reset_pending()` and looks at `check_value_range()` after the first
        batch and each epoch; there it is for you to call them.

        Args:
          data: (images, labels) or (images, labels, sample_weight), where
            images are (clean, augmented) with `views=2`.

        Returns:
          Dict of metric values.

        Raises:
          ValueError: in a loop of your own, with micro-batches or in phased
            placement.
        """
        return self._compiled_step().train_on(data)

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Configures training; the arguments are those of Keras.

        Args:
          optimizer: Keras optimizer. `ca.LARS` is told which weights belong
            to normalization layers or are biases. For a network that computes
            in float16 it is wrapped in a `LossScaleOptimizer`.
          loss: Keras loss, its name or a function of (y_true, y_pred). The
            attack uses it without label smoothing, summed over examples.
          *args: metrics and so on; see `tf.keras.Model.compile`.
          **kwargs: likewise.

        Raises:
          ValueError: if there is no loss, if the loss expects logits and the
            network ends in softmax (or the other way round), or if the way
            to step does not take the loss or the `steps_per_execution`.
        """
        loss_object = loss_lib.single_loss(loss)
        loss_lib.check_output(self.network, loss_object)
        if attack_loss_scaling.computes_in_float16(self.network):
            optimizer = steps.with_loss_scale(optimizer)
        self.step = None
        self._warn_of_changes()
        super().compile(optimizer, loss, *args, **kwargs)
        self._way.check_compiled(
            loss_object, keras_internals.steps_per_execution(self)
        )
        exclude = getattr(
            getattr(self.optimizer, "inner_optimizer", self.optimizer),
            "exclude_variables",
            None,
        )
        if exclude is not None:
            normalization, biases = variables.normalization_and_biases(
                self.network
            )
            exclude(normalization, kind="normalization")
            exclude(biases, kind="bias")
        self._single_loss = loss_object
        bound = inspect.signature(super().compile).bind_partial(
            optimizer, loss, *args, **kwargs
        )
        metrics = map(bound.arguments.get, ("metrics", "weighted_metrics"))
        self.part_accuracy = steps.part_accuracy(
            self.network, loss_object, list(metrics)
        )
        with self.distribute_strategy.scope():
            self.step = self._way(self, loss_object)

    def new_step(self) -> steps.Step:
        """A step like the model's own with nothing behind it.

        Raises:
          ValueError: if the model is not compiled.
        """
        self._compiled_step()
        with self.distribute_strategy.scope():
            return self._way(self, self._single_loss)

    def _compiled_step(self) -> steps.Step:
        if self.step is None:
            raise ValueError(
                "Expected a compiled model; call model.compile(...) first."
            )
        return self.step

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a model that is loaded from a file."""
        # Keras leaves this out for a model with a compile of its own.
        self.compile(**tf.keras.utils.deserialize_keras_object(config))
        keras_internals.create_slots(self.optimizer, self.trainable_variables)

    def fit(self, *args: Any, **kwargs: Any) -> tf.keras.callbacks.History:
        """Trains; see `tf.keras.Model.fit`. Starts with nothing pending.

        Raises:
          ValueError: if images have a NaN or lie outside the attack's
            `value_range` (seen after the first batch and at the end of each
            epoch), or use under 1% of it in a whole epoch; with
            `jit_compile=True`, if batches have no static size.
          FloatingPointError: if too many gradients are not finite; see
            `ca.TrainingMonitor`.
        """
        bound = inspect.signature(super().fit).bind(*args, **kwargs)
        arguments = bound.arguments
        self._warn_of_changes()
        self.reset_pending()
        if self.step is not None:
            self.step.batch_size_hint = steps.array_batch_size(
                arguments.get("x"),
                arguments.get("batch_size"),
                arguments.get("validation_split", 0.0),
                self.distribute_strategy.num_replicas_in_sync,
            )
        callbacks = arguments.get("callbacks")
        arguments["callbacks"] = with_training_monitor(callbacks, self)
        return super().fit(**arguments)

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Trains on one batch; see `tf.keras.Model.train_on_batch`.

        The batch stays pending until the next call, which trains on it.

        Raises:
          ValueError: if images have a NaN or lie outside the attack's
            `value_range`.
        """
        logs = super().train_on_batch(*args, **kwargs)
        self.check_value_range()
        return logs

    def make_train_function(self, force: bool = False) -> Callable[..., Any]:
        """Keras's training function, as the step wants it to be called."""
        if force or self.train_function is None:
            make = super().make_train_function
            self.train_function = self._compiled_step().built_train_function(
                lambda: make(force=True)
            )
        return self.train_function

    @property
    def metrics_names(self) -> list[str]:
        """Names of what `train_on_batch` returns, once there is a `loss`.

        `test_on_batch` returns the first of them.
        """
        names = super().metrics_names
        # The step's own loss is logged as `loss`, in place of Keras's.
        names = [name for name in names if name != steps.LOSS_METRIC]
        return names if "loss" in names else []

    @property
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """Keras's metrics and those of the parts of a batch."""
        return super().metrics + self._step_metrics()

    def get_metrics_result(self) -> dict[str, Any]:
        """Keras's metrics only: an evaluation has no adversarial half."""
        results = super().get_metrics_result()
        for metric in self._step_metrics():
            del results[metric.name]
        return results

    def _step_metrics(self) -> list[tf.keras.metrics.Metric]:
        # Keras asks for the metrics before __init__ has come to the step.
        step = self.__dict__.get("step")
        return [] if step is None else step.metrics()

    def _warn_of_changes(self) -> None:
        if self._given is not None:
            self._given.warn_of_changes()

    # --- Between steps ------------------------------------------------------

    def load_weights(self, *args: Any, **kwargs: Any) -> Any:
        """Loads weights; see `tf.keras.Model.load_weights`.

        A pending batch, attacked with the weights before, is dropped.
        """
        result = super().load_weights(*args, **kwargs)
        self.reset_pending()
        return result

    def reset_pending(self) -> None:
        """Drops the pending batch and the stale weights older than these.

        With micro-batches, what was summed since the last update is dropped.
        """
        if self.step is not None:
            with self.distribute_strategy.scope():
                self.step.reset()

    def check_value_range(self, whole_epoch: bool = False) -> None:
        """Raises a ValueError if training saw NaN or images out of range.

        Args:
          whole_epoch: whether images that use next to nothing of the range
            are an error; else they are a warning.
        """
        if self.step is not None and self.step.attack is not None:
            strategy = self.distribute_strategy
            with strategy.scope():
                self.step.attack.check_value_range(strategy, whole_epoch)

    @property
    def skipped_steps(self) -> int:
        """Updates skipped since `compile` for a gradient not finite."""
        return self._compiled_step().update.guarded.skipped

    @property
    def first_skipped_step(self) -> Optional[int]:
        """`optimizer.iterations` of the first skipped update; None if none."""
        return self._compiled_step().update.guarded.first_skipped

    @property
    def stale_network(self) -> Optional[tf.keras.Model]:
        """The network that the attack runs, or None; only to be read.

        Between two steps its trainable weights are those of `staleness`
        updates ago (or the first); everything else it shares with `network`.
        """
        shadow = None if self.step is None else self.step.shadow
        return None if shadow is None else shadow.network

    @property
    def stale_weights(self) -> Optional[list[tuple[tf.Variable, tf.Variable]]]:
        """(weight, its stale copy) for each trainable weight, or None."""
        shadow = None if self.step is None else self.step.shadow
        return None if shadow is None else shadow.pairs
