"""ConAdvModel: concurrent adversarial learning as a Keras model.

How a step is made is the affair of the step that the model holds; Algorithm 1
is `steps.concurrent`.
"""

from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf import attacks
from conadv_tf import steps
from conadv_tf.networks import conversion
from conadv_tf.networks import SourceNetwork
from conadv_tf.networks import split_for_training
from conadv_tf.networks import warn_of_random_layers
from conadv_tf.stepped_model import SteppedModel


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
class ConAdvModel(SteppedModel):
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

    The model trains a copy, `network`: the one you pass stays as it is, and
    `export_network()` gives the trained one back with ordinary batch norm. What
    you do later, do to the copy, and compile again: `model.network.trainable =
    True`, `model.network.get_layer(name).adapt(data)`. A change of flags or of
    what is adapted in the one you passed is warned of.

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
        `PGD.__call__` and a `value_range`; None, written out, is plain
        training.
      staleness: tau, how many updates the attack's weights are behind those
        that train on its result. 0 is DisAdv (attack, then update, in
        sequence), 1, the default, is ConAdv. Without an attack there is none.
      seed: int, for the random starts and targets. Draws are keyed by (seed,
        step) and by the position in the global batch; `fit` starts counting
        steps from the optimizer's iterations.
      views: 1, or 2 for (clean, augmented) pairs of images; needs an attack.
      microbatches: batches of the data that make one update; each is attacked
        and normalized by itself, like the batch of one of that many replicas,
        and their gradients are averaged. Trains large global batches on
        little hardware.
      placement: "local": every replica attacks and trains on both parts.
        "phased" (see `steps.phased`): at every step a third of them does
        each, on three times its share. Needs replicas in threes, staleness 1,
        one view, no micro-batches, no synchronized batch norm and batches of
        one static size. With a shared pass (see `steps.phased_pairs`) half of
        them does each of two things; needs pairs of replicas, staleness 2 and
        half of the images attacked.
      adversarial_weight: weight w of the adversarial loss where that of each
        other part is 1: (clean + w adversarial) / (1 + w), or with two views
        (clean + augmented + w adversarial) / (2 + w). 1 is the paper's.
      adversarial_fraction: f in (0, 1], the part of each local batch, its
        first images, that is attacked and has adversarial twins; each part
        of a batch keeps its share of the loss. A quarter keeps the gain at
        1 + 5/3 f times the arithmetic of plain training, where the paper's
        1 costs 8/3. Batches must be shuffled.
      attack_pass: "own": the attack is a forward and a backward pass beside
        the update's. "shared" (see `steps.shared_pass`): one of each in all,
        because the images where attacks start are trained on too; 1 + 2 f.
        Needs an attack of one step without target and staleness 1 (2 in
        phased placement).
      start_replaces_clean: with a shared pass, whether the first f of a batch
        is trained on as start images instead of clean ones; 1 + f.
      name: model name.

    Raises:
      ValueError: if the network is subclassed, has several inputs or outputs
        or batch norms that cannot be split; if an argument has a wrong value
        or does not go with the placement; or if the attack is no attack.

    Example:
      >>> layers = [tf.keras.Input((4,)), tf.keras.layers.BatchNormalization()]
      >>> network = tf.keras.Sequential([*layers, tf.keras.layers.Dense(3)])
      >>> model = ca.ConAdvModel(network, attack=ca.PGD(8 / 255))
      >>> loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
      >>> model.compile(ca.LARS(0.1), loss, metrics=["accuracy"])
      >>> history = model.fit(tf.ones([8, 4]), tf.zeros([8]), verbose=0)
      >>> list(history.history)[:3]
      ['loss', 'clean_loss', 'adversarial_loss']
      >>> len(network.weights), len(model.export_network().weights)
      (6, 6)
    """

    def __init__(
        self,
        network: tf.keras.Model,
        attack: Any = steps.NOT_GIVEN,
        staleness: Optional[int] = None,
        seed: int = 0,
        views: int = 1,
        microbatches: int = 1,
        placement: str = "local",
        adversarial_weight: float = 1.0,
        adversarial_fraction: float = 1.0,
        attack_pass: str = "own",
        start_replaces_clean: bool = False,
        name: Optional[str] = None,
    ) -> None:
        options = steps.Options(
            attack,
            staleness,
            seed,
            views,
            microbatches,
            placement,
            adversarial_weight,
            adversarial_fraction,
            attack_pass,
            start_replaces_clean,
        )
        way = steps.way_to_step(options, network)
        if attack is None:
            trained = conversion.copy_network(network)
        else:
            warn_of_random_layers(network)
            trained = split_for_training(network, views + 1)
        given = SourceNetwork(network, trained)
        super().__init__(trained, way, name or "conadv", given)
        self.options = options

    @property
    def attack(self) -> Any:
        """The attack, or None."""
        return self.options.attack

    @property
    def staleness(self) -> Optional[int]:
        """Tau, how many updates the attack's weights are behind, if any."""
        return self.options.staleness

    @property
    def seed(self) -> int:
        """For the random starts and targets."""
        return self.options.seed

    @property
    def views(self) -> int:
        """Views of each image that the data have, 1 or 2."""
        return self.options.views

    @property
    def microbatches(self) -> int:
        """Batches of the data that make one update."""
        return self.options.microbatches

    @property
    def placement(self) -> str:
        """How a step is shared out, "local" or "phased"."""
        return self.options.placement

    @property
    def adversarial_weight(self) -> float:
        """Weight of the adversarial loss where that of each other part is 1."""
        return float(self.options.adversarial_weight)

    @property
    def adversarial_fraction(self) -> float:
        """The part of each batch that is attacked."""
        return float(self.options.adversarial_fraction)

    def export_network(self) -> tf.keras.Model:
        """The trained network with ordinary batch norm (the main branch).

        Returns:
          A plain functional Keras model with weights of its own; its
          `predict` equals this model's.
        """
        return conversion.merge_batch_norm(self.network)

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments; see `attacks.serialize` for which attacks."""
        return {
            "name": self.name,
            "network": tf.keras.layers.serialize(self.network),
            **vars(self.options),
            "attack": attacks.serialize(self.attack),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "ConAdvModel":
        """Rebuilds a model from `get_config`."""
        network = tf.keras.layers.deserialize(
            config["network"], custom_objects=custom_objects
        )
        attack = attacks.deserialize(config["attack"], custom_objects)
        config = {**config, "network": network, "attack": attack}
        if attack is None:  # Older files have one all the same.
            config["staleness"] = None
        return cls(**config)
