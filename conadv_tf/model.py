"""ConAdvModel: Algorithm 1 of Liu et al. 2022 as a Keras training step."""

import tensorflow as tf

from conadv_tf import attacks
from conadv_tf.attacks import value_range
from conadv_tf.batch_norm import batch_norm_branch
from conadv_tf.distribution import random
from conadv_tf.networks import conversion
from conadv_tf.steps import arguments
from conadv_tf.steps import phased
from conadv_tf.steps import pipelined


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
class ConAdvModel(pipelined.PipelinedModel):
    """Trains a classifier with concurrent adversarial learning.

    A drop-in for `model.fit()` on ordinary (images, labels[, sample_weight])
    data. Step t of training does at once, in one `tf.function`:

        g_t <- 1/2 [mean grad L(theta_t; x, y)     through the main batch norm
                  + mean grad L(theta_t; x_hat, y)] through the auxiliary one
        x_hat(theta_t) <- attack on the next batch with the stale weights
        theta_t+1 <- optimizer(theta_t, g_t)

    Implements Eqs. (3) to (5) and Algorithm 1 of Liu et al. 2022 (arXiv
    2106.00221). Differs from the paper: Eq. (4) prints the update with a plus
    sign; it descends here, as it must.

    So a step attacks the batch it receives and trains on the one before it,
    and the metrics of `fit` and `train_on_batch` lag one batch. While nothing
    is pending (the first step of each `fit`, and the first after
    `load_weights`) the step trains on the batch it receives with a zero
    perturbation; the last batch received by a `fit` is attacked but not
    trained on.

    The attack reads the stale weights through the auxiliary batch norm in
    training mode (batch statistics, dropout active) and changes no moving
    statistics. `evaluate` and `predict` use the main batch norm in inference
    mode.

    With `views=2` (the paper's ConAdv + AutoAugment) data are ((clean images,
    augmented images), labels[, sample_weight]): three batch norm branches,
    an equal share of the loss each; the clean view is the one that is attacked.

    The model trains a copy: the network you pass stays as it is, and
    `export_network()` gives the trained one back with ordinary batch norm.

    `fit` logs `loss`; `clean_loss`, `adversarial_loss` and, with two views,
    `augmented_loss` (its parts, each with the regularization penalties); the
    compiled metrics, on the clean part; and `adversarial_accuracy`.

    Args:
      network: functional or Sequential Keras classifier, images to logits
        [batch, classes]. Plain batch norms in it are split in two branches;
        to share one between all parts (an ablation), pass
        `split_batch_norm(network, branches=1)`. Normalize inside it, so that
        epsilon is in pixels.
      attack: `PGD`, `FGSM` or a callable with the signature of
        `PGD.__call__` and a `value_range`; None is plain training.
      staleness: tau, how many updates the attack's weights are behind those
        that train on its result. 0 is DisAdv (attack, then update, in
        sequence), 1 is ConAdv.
      seed: int, for the random starts and targets. Draws are keyed by (seed,
        step) and by the position in the global batch; `fit` starts counting
        steps from the optimizer's iterations.
      views: 1, or 2 for (clean, augmented) pairs of images; needs an attack.
      microbatches: batches of the data that make one update; each is attacked
        and normalized by itself, like the batch of one of that many replicas,
        and their gradients are averaged. Trains large global batches on
        little hardware.
      placement: "local": every replica attacks and trains on both parts.
        "phased" (see `conadv_tf.phased`): at every step a third of them does
        each, on three times its share. Needs replicas in threes, staleness 1,
        one view, no micro-batches, no synchronized batch norm and batches of
        one static size.
      adversarial_weight: weight w of the adversarial loss where that of each
        other part is 1: (clean + w adversarial) / (1 + w), or with two views
        (clean + augmented + w adversarial) / (2 + w). 1 is the paper's.
      name: model name.

    Raises:
      ValueError: if the network is subclassed, has several inputs or outputs
        or batch norms that cannot be split; if an argument has a wrong value
        or does not go with the placement; or if the attack is no attack.
    """

    def __init__(
        self,
        network,
        attack=None,
        staleness=1,
        seed=0,
        views=1,
        microbatches=1,
        placement="local",
        adversarial_weight=1.0,
        name=None,
    ):
        arguments.check(network, attack, staleness, seed, views, microbatches)
        arguments.check_weight(adversarial_weight)
        arguments.check_placement(
            placement, network, attack, staleness, views, microbatches
        )
        if attack is None:
            network = conversion.copy_network(network)
        else:
            network = arguments.with_branches(network, views + 1)
        super().__init__(
            network,
            attack,
            staleness,
            views,
            microbatches,
            placement,
            name=name or "conadv",
        )
        self.seed = seed
        self.adversarial_weight = float(adversarial_weight)

    # --- The step -----------------------------------------------------------

    def train_step(self, data):
        """One step of Algorithm 1 on one replica's batch.

        Args:
          data: (images, labels) or (images, labels, sample_weight), where
            images are (clean, augmented) with `views=2`.

        Returns:
          Dict of metric values.
        """
        received = self._received_batch(data)
        if self.attack is None:
            return self._update_clean(received)
        if self.placement == "phased":
            return phased.step(self, received)
        if self.microbatches > 1:
            return self._train_on_microbatch(received)

        if self.staleness == 0:  # DisAdv: attack, then update.
            received.adversarial = self._attack(self.network, received)
            return self._update(received)

        shadow, pending = self._state.shadow, self._state.pending
        age = pending.age_after(received)
        shadow.refresh(age)  # theta_t, or older for tau > 1.
        current = pending.take(age, received)  # B_t and x_hat(theta_t-tau).
        # The next two lines share no path in the graph: they run at once.
        received.adversarial = self._attack(shadow.network, received)
        logs = self._update(current)
        pending.put(received)  # B_t+1 and its x_hat.
        return logs

    def _train_on_microbatch(self, received):
        """Attack with theta_t-tau, then train: the same updates, in sequence.

        What lies in the pending batch otherwise is attacked here when it is
        trained on. The shadow changes with the last micro-batch of an update.
        """
        microbatches, shadow = self._state.microbatches, self._state.shadow
        size = tf.shape(received.images)[0]
        with random.positions_from(microbatches.first_position(size)):
            if shadow is None:
                received.adversarial = self._attack(self.network, received)
            else:
                updates = microbatches.updates()
                adversarial = self._attack(shadow.network, received)
                received.adversarial = tf.where(  # As nothing is pending.
                    updates > 0, adversarial, received.images
                )
                if microbatches.is_last:
                    shadow.refresh(updates)
        return self._update(received)

    def _attack(self, network, batch):
        """x_hat of a batch, after counting it."""
        seed = self._next_seed()
        if self.microbatches > 1 and self._state.shadow is not None:
            seed -= [0, 1]  # Attacked one step before it is trained on.
        self._count_out_of_range(batch)
        return self._craft(network, batch, seed)

    def _craft(self, network, batch, seed):
        """x_hat = project(x + step * ascent direction), Eqs. (3) and (5)."""

        def auxiliary_logits(images):
            with batch_norm_branch("auxiliary", update_statistics=False):
                return network(images, training=True)

        return self.attack(
            auxiliary_logits,
            batch.images,
            batch.labels,
            seed=seed,
            loss=self._state.attack_loss,
        )

    def _next_seed(self):
        # Read and written with a data dependency between the two: Grappler may
        # drop a control edge, as it did for the optimizer's own counter.
        step = tf.convert_to_tensor(self._state.step)
        if self.microbatches == 1 or self._state.microbatches.is_last:
            self._state.step.assign(step + 1)
        return tf.stack([tf.constant(self.seed, tf.int64), step])

    def _count_out_of_range(self, batch):
        for images in batch.parts().values():
            self._state.out_of_range.assign_add(
                value_range.count_outside(images, self.attack.value_range)
            )

    def _update(self, batch):
        """Theta <- optimizer(theta, mean of the parts' gradients), Eq. (4)."""
        shares = self._state.shares
        parts = batch.parts()
        statistics = self._state.update.begin()
        with tf.GradientTape() as tape:
            with batch_norm_branch("split"):
                logits = self.network(
                    tf.concat(list(parts.values()), axis=0), training=True
                )
            logits = tf.split(tf.cast(logits, tf.float32), len(parts), axis=0)
            logits = dict(zip(parts, logits))
            losses = {
                name: self._loss(batch, part) for name, part in logits.items()
            }
            loss = tf.add_n([shares[name] * losses[name] for name in parts])
        self._state.update.apply(self.optimizer, tape, loss, statistics)
        return self._logs(batch, logits, losses)

    def _update_clean(self, batch):
        """Plain training: no attack, one batch norm."""
        statistics = self._state.update.begin()
        with tf.GradientTape() as tape:
            logits = self.network(batch.images, training=True)
            logits = tf.cast(logits, tf.float32)
            loss = self._loss(batch, logits)
        self._state.update.apply(self.optimizer, tape, loss, statistics)
        return self.compute_metrics(
            batch.images, batch.labels, logits, batch.sample_weight
        )

    def _loss(self, batch, logits):
        return self.compute_loss(
            batch.images, batch.labels, logits, batch.sample_weight
        )

    def _logs(self, batch, logits, losses):
        for part, loss in losses.items():
            self._record(part, batch, logits[part], loss)
        logs = self.compute_metrics(
            batch.images, batch.labels, logits["clean"], batch.sample_weight
        )
        return self._state.metrics.with_parts(logs)

    def _record(self, part, batch, logits, loss):
        # Keras divides a replica's loss by the number of replicas.
        replicas = float(self.distribute_strategy.num_replicas_in_sync)
        self._state.metrics.record(
            part, batch, logits, loss * replicas, self._state.decision_boundary
        )

    # --- The network --------------------------------------------------------

    def call(self, inputs, training=None):
        """Logits through the main batch norm."""
        return self.network(inputs, training=training)

    def export_network(self):
        """The trained network with ordinary batch norm (the main branch).

        Returns:
          A plain functional Keras model with weights of its own; its
          `predict` equals this model's.
        """
        return conversion.merge_batch_norm(self.network)

    def get_config(self):
        """Constructor arguments; the attack must be a class of this package."""
        return {
            "name": self.name,
            "network": tf.keras.layers.serialize(self.network),
            "attack": attacks.serialize(self.attack),
            "staleness": self.staleness,
            "seed": self.seed,
            "views": self.views,
            "microbatches": self.microbatches,
            "placement": self.placement,
            "adversarial_weight": self.adversarial_weight,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Rebuilds a model from `get_config`."""
        return cls(
            tf.keras.layers.deserialize(
                config["network"], custom_objects=custom_objects
            ),
            attack=attacks.deserialize(config["attack"]),
            staleness=config["staleness"],
            seed=config["seed"],
            views=config["views"],
            microbatches=config["microbatches"],
            placement=config["placement"],
            adversarial_weight=config["adversarial_weight"],
            name=config["name"],
        )
