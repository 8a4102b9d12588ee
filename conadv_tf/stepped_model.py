"""A Keras model whose training step is an object: `compile` and `fit`."""

from collections.abc import Callable
import functools
import inspect
from typing import Any

import tensorflow as tf

from conadv_tf import callbacks as callbacks_lib
from conadv_tf import keras_3
from conadv_tf import keras_internals
from conadv_tf import steps
from conadv_tf.attacks import accuracy
from conadv_tf.attacks import attack_loss_scaling
from conadv_tf.attacks import loss as loss_lib
from conadv_tf.distribution import mean_over_workers
from conadv_tf.model_state import StatefulModel
from conadv_tf.networks import SourceNetwork
from conadv_tf.networks import variables


class SteppedModel(StatefulModel):
    """A Keras model that delegates the training step to a `steps.Step`.

    Attributes:
      network: functional network that is trained, images to logits.
      attack: the attack, or None.
      step: the `steps.Step` with its options.
      seed: int, key of the random draws.
      views: number of views of each image, 1 or 2.
      runner: the `steps.StepRunner`; None before `compile`.

    Args:
      source: the `SourceNetwork` that `network` is a copy of.
      name: model name.
    """

    # Keras's attributes.
    train_function: Any
    train_tf_function: Any

    def __init__(
        self,
        network: tf.keras.Model,
        *,
        attack: Any,
        step: steps.Step,
        seed: int,
        views: int,
        source: SourceNetwork,
        name: str,
    ) -> None:
        super().__init__(name=name, autocast=False)
        self.network = network
        self.attack = attack
        self.step = step
        self.seed = seed
        self.views = views
        self._source = source
        self.runner = None
        self._context: Any = None
        self.output_names = network.output_names  # Of losses and metrics.
        images = network.inputs[0]  # A symbolic call builds the model.
        self(tf.keras.Input(images.shape[1:], dtype=images.dtype))

    @keras_internals.without_autograph
    def call(self, inputs: tf.Tensor, training: Any = None) -> tf.Tensor:
        """Returns the logits through the main batch norm."""
        return self.network(inputs, training=training)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Executes one step on one replica's batch.

        A custom training loop may call it: `strategy.run(model.train_step,
        (batch,))`. It should call `check_value_range()` after the first batch
        and each epoch, and `reset_pending()` after it has set other weights.

        Args:
          data: (images, labels) or (images, labels, sample_weight), where
            images are (clean, augmented) with `views=2`.

        Returns:
          {name of a metric: value}.

        Raises:
          ValueError: outside of `fit` with micro-batches, `RotatingRoles` or
            `Delayed`.
        """
        return self._compiled_runner().train_on(data)

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Configures training; the arguments are Keras's.

        Args:
          optimizer: Keras optimizer. `ca.LARS` is told which weights belong
            to normalization layers and which are biases. For a network that
            computes in float16 it is wrapped in a `LossScaleOptimizer`.
            Optimizers, losses and metrics of Keras 3 are replaced by equal
            ones of `tf.keras`.
          loss: Keras loss, its name, or a function of (y_true, y_pred). The
            attack uses it without label smoothing, summed over examples.
          *args: positional arguments of `tf.keras.Model.compile`.
          **kwargs: keyword arguments of `tf.keras.Model.compile`.

        Raises:
          ValueError: if there is no loss, if it does not fit the last
            activation, if the optimizer overrides `minimize` or knows variables
            of the passed network, if the step refuses an argument, or for an
            object of Keras 3 without an equal one in `tf.keras`.
        """
        keras_3.check_compile(kwargs)
        with self.distribute_strategy.scope():
            optimizer, loss, args, kwargs = keras_3.adapted(
                (optimizer, loss, args, kwargs)
            )
        loss_object = loss_lib.single_loss(loss)
        loss_lib.check_output(self.network, loss_object)
        if attack_loss_scaling.computes_in_float16(self.network):
            optimizer = steps.with_loss_scale(optimizer)
        self.runner = None
        self._source.warn_of_changes()
        super().compile(optimizer, loss, *args, **kwargs)
        self.step.check_compiled(
            loss_object, keras_internals.steps_per_execution(self)
        )
        self._source.translate_variables(self.optimizer)
        variables.set_lars_kinds(self.optimizer, self.network)
        bound = inspect.signature(super().compile).bind_partial(
            optimizer, loss, *args, **kwargs
        )
        metrics = map(bound.arguments.get, ("metrics", "weighted_metrics"))
        self._context = steps.TrainingContext(
            network=self.network,
            optimizer=self.optimizer,
            strategy=self.distribute_strategy,
            loss=loss_object,
            metrics=steps.KerasMetrics(
                self.compute_loss,
                self.compute_metrics,
                functools.partial(
                    keras_internals.update_compiled_metrics, self
                ),
                self.get_metrics_result,
                functools.partial(keras_internals.build_metrics, self),
            ).of_logits(self.network),
            accuracy=accuracy.example_accuracy(
                self.network, loss_object, *metrics
            ),
            attack=self.attack,
            seed=self.seed,
            views=self.views,
            jit_compile=keras_internals.jit_compile(self),
        )
        with self.distribute_strategy.scope():
            self.runner = self.step.build(self._context)

    def new_runner(self) -> steps.StepRunner:
        """Returns a runner of the compiled model's step without any state."""
        self._compiled_runner()
        with self.distribute_strategy.scope():
            return self.step.attacking_step.build(self._context)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles a model that is loaded from a file."""
        # Keras leaves this out for a model that overrides compile.
        self.compile(**tf.keras.utils.deserialize_keras_object(config))
        self._compiled_runner().update.create_slots()

    def fit(self, *args: Any, **kwargs: Any) -> tf.keras.callbacks.History:
        """Trains like `tf.keras.Model.fit`.

        A batch that is pending at the end stays pending, so that several calls
        train like one with as many epochs. It is dropped by an error, or, with
        a log message, by other weights or data of another shape or structure.
        `tf.keras.callbacks.BackupAndRestore` saves it in a single process.

        Raises:
          ValueError: if images have a NaN or lie outside the attack's
            `value_range` (checked after the first batch and at the end of each
            epoch), or use under 1% of it in a whole epoch; with
            `jit_compile=True`, if batches have no static size.
          FloatingPointError: if too many gradients are not finite
            (`ca.TrainingMonitor`).
        """
        arguments = _adapted(super().fit, args, kwargs).arguments
        self._source.warn_of_changes()
        if self._is_in_fit:  # The last call raised an error.
            self.reset_pending()
        self._drop_if_weights_changed()
        if self.runner is not None:
            keras_3.warn_of_changes(self.optimizer)
            with self.distribute_strategy.scope():
                self.runner.begin_fit(
                    arguments.get("x"),
                    arguments.get("batch_size"),
                    arguments.get("validation_split", 0.0),
                )
        callbacks = arguments.get("callbacks")
        for added in (callbacks_lib.TrainingMonitor, callbacks_lib.EpochEnd):
            callbacks = callbacks_lib.with_callback(callbacks, added(), self)
        self._is_in_fit = True
        with callbacks_lib.state_in_backups(self, callbacks) as callbacks:
            history = super().fit(**{**arguments, "callbacks": callbacks})
        self._is_in_fit = False
        self._note_weights()
        return history

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluates like `tf.keras.Model.evaluate`."""
        bound = _adapted(super().evaluate, args, kwargs)
        return super().evaluate(*bound.args, **bound.kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """Predicts like `tf.keras.Model.predict`."""
        bound = _adapted(super().predict, args, kwargs)
        return super().predict(*bound.args, **bound.kwargs)

    def train_on_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Trains on one batch like `tf.keras.Model.train_on_batch`.

        The batch stays pending until the next call. Raises a ValueError for
        images with a NaN or outside the `value_range`, and with `ca.Delayed`.
        """
        self.step.check_single_batch()
        self._drop_if_weights_changed()
        logs = super().train_on_batch(*args, **kwargs)
        self.check_value_range()
        return logs

    def make_train_function(self, force: bool = False) -> Callable[..., Any]:
        """Returns Keras's training function, as the step wants it called."""
        if force or self.train_function is None:
            runner = self._compiled_runner()
            make = functools.partial(super().make_train_function, force=True)
            if runner.num_traces > 1:
                make = functools.partial(self._alternating_function, make)
            self.train_function = mean_over_workers(
                runner.train_function(make), self.distribute_strategy
            )
        return self.train_function

    def _alternating_function(
        self, make: Callable[[], Callable[[Any], Any]]
    ) -> Callable[[Any], Any]:
        """Returns one of several training functions of a step."""
        current, function = self.train_function, make()
        traced, self.train_function = self.train_tf_function, current

        def run(iterator: Any) -> Any:
            # TensorBoard reads the graph from here after the first batch.
            self.train_tf_function = traced
            return function(iterator)

        return run

    @property
    def metrics_names(self) -> list[str]:
        """Names of `train_on_batch`'s values; `test_on_batch` has the first."""
        names = super().metrics_names
        # The logs have the composite loss as `loss`, in place of Keras's.
        names = [name for name in names if name != steps.LOSS_METRIC]
        return names if "loss" in names else []

    @property
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """Keras's metrics and the metrics of the sub-batches."""
        return super().metrics + self._step_metrics()

    def get_metrics_result(self) -> dict[str, Any]:
        """Returns Keras's metrics: evaluation has no adversarial images."""
        results = super().get_metrics_result()
        for metric in self._step_metrics():
            del results[metric.name]
        return results

    def _step_metrics(self) -> list[tf.keras.metrics.Metric]:
        runner = vars(self).get("runner")  # Keras asks during __init__.
        return [] if runner is None else runner.loss.metrics()


def _adapted(
    method: Callable[..., Any], args: Any, kwargs: Any
) -> inspect.BoundArguments:
    """Binds arguments, with callbacks of Keras 3 adapted to `tf.keras`."""
    bound = inspect.signature(method).bind(*args, **kwargs)
    for name in ("x", "validation_data"):
        keras_3.check_data(bound.arguments.get(name))
    if "callbacks" in bound.arguments:
        callbacks = keras_3.adapted_callbacks(bound.arguments["callbacks"])
        bound.arguments["callbacks"] = callbacks
    return bound
