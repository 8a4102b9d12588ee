"""The Keras side of a step that keeps a pending batch between calls.

`PipelinedModel` makes `compile` and `fit` create the state that a step needs
before it is traced, and drop it when it no longer fits. What a step computes
is the subclass's affair; see `model.ConAdvModel.train_step`.
"""

import inspect

import tensorflow as tf

from conadv_tf.attacks import loss as objectives
from conadv_tf.attacks import value_range
from conadv_tf.callbacks import checkpoint_state
from conadv_tf.callbacks.health import with_health
from conadv_tf.networks import variables
from conadv_tf.steps import input_spec
from conadv_tf.steps import step_state
from conadv_tf.steps.phased_batches import check_replicas
from conadv_tf.steps.phased_batches import PhasedBatches
from conadv_tf.steps.shadow_weights import Batch
from conadv_tf.steps.shadow_weights import PendingBatch
from conadv_tf.steps.update import with_loss_scale


class PipelinedModel(tf.keras.Model):
    """A Keras model whose training step has state besides the weights.

    Args:
      network: functional network, images to logits, that training updates.
      attack: attack or None.
      staleness: tau >= 0; above 0 a step trains on the batch of the step
        before and needs a pending batch and stale weights.
      views: 1 or 2, how many views of each image the data have.
      microbatches: batches of the data that make one update.
      placement: "local" or "phased".
      name: model name.
    """

    def __init__(
        self, network, attack, staleness, views, microbatches, placement, name
    ):
        super().__init__(name=name, autocast=False)
        self.network = network
        self.attack = attack
        self.staleness = staleness
        self.views = views
        self.microbatches = microbatches
        self.placement = placement
        # A plain object: Keras must not count its variables as weights.
        self._state = step_state.StepState()
        # A symbolic call builds the model and tells Keras what to save.
        self(
            tf.keras.Input(
                network.input_shape[1:], dtype=network.inputs[0].dtype
            )
        )

    @property
    def is_concurrent(self):
        """Whether what a step attacks is trained on in a later one."""
        return (
            self.attack is not None
            and self.staleness > 0
            and self.microbatches == 1
        )

    @property
    def has_stale_weights(self):
        """Whether training keeps a shadow copy of the weights."""
        return (
            self.attack is not None
            and self.staleness > 0
            and self.placement == "local"
        )

    @property
    def skipped_steps(self):
        """Updates skipped since `compile` for a gradient not finite; int."""
        return self._state.update.skipped.read_value().numpy().item()

    @property
    def first_skipped_step(self):
        """`optimizer.iterations` of the first skipped update; None if none."""
        step = self._state.update.first_skipped.read_value().numpy().item()
        return None if step < 0 else step

    @property
    def stale_network(self):
        """The network that the attack runs, or None; only to be read.

        Between two steps its trainable weights are those of `staleness`
        updates ago (or the first); everything else it shares with `network`.
        """
        shadow = self._state.shadow
        return None if shadow is None else shadow.network

    @property
    def stale_weights(self):
        """(weight, its stale copy) for each trainable weight, or None."""
        shadow = self._state.shadow
        return None if shadow is None else shadow.pairs

    def compile(self, optimizer="rmsprop", loss=None, *args, **kwargs):
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
            network ends in softmax (or the other way round), if the loss is a
            sum in phased placement, or for `steps_per_execution` with
            micro-batches.
        """
        loss_object = objectives.single_loss(loss)
        objectives.check_output(self.network, loss_object)
        if self.placement == "phased":
            objectives.check_mean(loss_object)
        if variables.computes_in_float16(self.network):
            optimizer = with_loss_scale(optimizer)
        super().compile(optimizer, loss, *args, **kwargs)
        steps = self._steps_per_execution.numpy().item()
        if self.microbatches > 1 and steps != 1:
            raise ValueError(
                "Expected steps_per_execution=1 with micro-batches, of which "
                f"{self.microbatches} make one update; received {steps}."
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
        with self.distribute_strategy.scope():
            self._state = step_state.new_state(self, loss_object)

    def compile_from_config(self, config):
        """Compiles a model that is loaded from a file."""
        # Keras leaves this out for a model with a compile of its own.
        self.compile(**tf.keras.utils.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def fit(self, *args, **kwargs):
        """Trains; see `tf.keras.Model.fit`. Starts with nothing pending.

        Raises:
          ValueError: if images lie outside the attack's `value_range` (seen
            after the first batch and at the end of each epoch); with
            `jit_compile=True`, if batches have no static size.
          FloatingPointError: if too many gradients are not finite; see
            `ca.TrainingHealth`.
        """
        arguments = inspect.signature(super().fit).bind(*args, **kwargs)
        arguments = arguments.arguments
        self.reset_pending()
        self._state.batch_size_hint = input_spec.array_batch_size(
            arguments.get("x"),
            arguments.get("batch_size"),
            arguments.get("validation_split", 0.0),
            self.distribute_strategy.num_replicas_in_sync,
        )
        arguments["callbacks"] = with_health(arguments.get("callbacks"), self)
        return super().fit(**arguments)

    def train_on_batch(self, *args, **kwargs):
        """Trains on one batch; see `tf.keras.Model.train_on_batch`.

        The batch stays pending until the next call, which trains on it.

        Raises:
          ValueError: if images lie outside the attack's `value_range`.
        """
        logs = super().train_on_batch(*args, **kwargs)
        self.check_value_range()
        return logs

    def make_train_function(self, force=False):
        """Keras's training function, after creating the pending batch.

        Its variables must exist before the step is traced, and only the
        iterator knows their shapes.
        """
        if self.train_function is not None and not force:
            return self.train_function
        if self.microbatches > 1:
            make = super().make_train_function
            self.train_function = self._state.microbatches.step_function(
                lambda: make(force=True)
            )
            return self.train_function
        train_function = super().make_train_function(force)
        if not self.is_concurrent:
            return train_function

        if self.placement == "phased":
            check_replicas(self.distribute_strategy.num_replicas_in_sync)

        def with_pending_batch(iterator):
            self._select_pending(iterator.element_spec)
            return train_function(iterator)

        self.train_function = with_pending_batch
        return with_pending_batch

    @property
    def metrics(self):
        """Keras's metrics and those of the parts of a batch."""
        return super().metrics + self._branch_metrics()

    def get_metrics_result(self):
        """Keras's metrics only: an evaluation has no adversarial half."""
        results = super().get_metrics_result()
        for metric in self._branch_metrics():
            del results[metric.name]
        return results

    def _branch_metrics(self):
        # Keras asks for the metrics before __init__ has made the state.
        state = self.__dict__.get("_state")
        return [] if state is None else state.branch_metrics()

    def load_weights(self, *args, **kwargs):
        """Loads weights; see `tf.keras.Model.load_weights`.

        A pending batch, attacked with the weights before, is dropped.
        """
        result = super().load_weights(*args, **kwargs)
        self.reset_pending()
        return result

    def reset_pending(self):
        """Drops the pending batch and the stale weights older than these.

        With micro-batches, what was summed since the last update is dropped.
        """
        with self.distribute_strategy.scope():
            if self._state.microbatches is not None:
                self._state.microbatches.reset()
            self._state.pending_to_restore = None
            for pending in self._state.pending_by_spec.values():
                pending.reset()
            if self._state.step is not None:
                iterations = self.optimizer.iterations.read_value()
                self._state.step.assign(tf.cast(iterations, tf.int64))

    def check_value_range(self):
        """Raises a ValueError if training saw images out of range."""
        counter = self._state.out_of_range
        if counter is None:
            return
        count = int(counter.read_value().numpy())
        if count:
            with self.distribute_strategy.scope():
                counter.assign(0)
            raise value_range.out_of_range_error(
                count, self.attack.value_range, "them in training"
            )

    def _received_batch(self, data):
        images, labels, weights = tf.keras.utils.unpack_x_y_sample_weight(data)
        if labels is None:
            raise ValueError(
                "Expected (images, labels) or (images, labels, sample_weight); "
                "received images without labels."
            )
        self._state.labels = tf.TensorSpec(labels.shape, labels.dtype)
        views = input_spec.views_of(images, self.views)
        if self.is_concurrent and self._state.pending.static_batch_size:
            size = self._state.pending.static_batch_size
            for tensor in (*views, labels, weights):
                if tensor is not None:
                    tensor.set_shape([size, *tensor.shape[1:]])
        if self.attack is not None:
            views = [
                # Keras's generators leave all dimensions open.
                tf.ensure_shape(
                    value_range.float_images(view, self.attack.value_range),
                    self.network.input_shape,
                )
                for view in views
            ]
        return Batch(views[0], labels, weights, *views[1:])

    def _new_pending(self, specs, static):
        """What holds batches of this kind between two steps."""
        with self.distribute_strategy.scope():
            if self.placement == "local":
                return PendingBatch(*specs, static=static)
            # A conditional of the step cannot create these any more.
            checkpoint_state.build_metrics(self, specs[1])
            return PhasedBatches(*specs[:3])

    def _select_pending(self, element_spec):
        """Makes the pending batch for this kind of data the current one."""
        static = bool(self._jit_compile) or self.placement == "phased"
        specs = input_spec.local_specs(
            element_spec, static, self.views, self._state.batch_size_hint
        )
        pending = self._state.pending_by_spec.get(specs)
        if pending is None:
            pending = self._new_pending(specs, static)
            self._state.pending_by_spec[specs] = pending
        before = self._state.pending
        if before is not None and before is not pending:
            if int(before.age.read_value().numpy()):
                raise ValueError(
                    "The shape of the batches changed between steps to "
                    f"{specs[0].shape} while a batch of another shape was "
                    "pending. With jit_compile=True all batches need one "
                    "size: use dataset.batch(n, drop_remainder=True). To drop "
                    "the pending batch on purpose call model.reset_pending()."
                )
        self._state.pending = pending
        if self._state.pending_to_restore is not None:
            checkpoint_state.assign_pending(self)
