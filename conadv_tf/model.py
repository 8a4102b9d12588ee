"""ConAdvModel: concurrent adversarial learning as a Keras model.

The training step is delegated to a `Step` object. Algorithm 1 is
`steps.concurrent`.
"""

import inspect
from typing import Any
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf import attacks
from conadv_tf import steps
from conadv_tf.keras_3 import is_keras_3
from conadv_tf.networks import check_batch_size
from conadv_tf.networks import check_functional
from conadv_tf.networks import check_methods
from conadv_tf.networks import conversion
from conadv_tf.networks import from_keras_3
from conadv_tf.networks import SourceNetwork
from conadv_tf.networks import split_for_training
from conadv_tf.networks import to_keras_3
from conadv_tf.networks import warn_of_layer_state
from conadv_tf.networks import warn_of_random_layers
from conadv_tf.networks import warn_of_rescaling
from conadv_tf.stepped_model import SteppedModel
from conadv_tf.types import Attack


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
class ConAdvModel(SteppedModel):
    """Trains a classifier with concurrent adversarial learning.

    A drop-in for `model.fit()` on ordinary (images, labels[, sample_weight])
    data. By default step t computes, in one `tf.function` and in parallel:

        g_t <- 1/2 [mean grad L(theta_t; x, y)     through the main batch norm
                  + mean grad L(theta_t; x_hat, y)] through the auxiliary one
        x_hat(theta_t) <- attack on the next batch with the stale weights
        theta_t+1 <- optimizer(theta_t, g_t)

    Implements Eqs. (3) to (5) and Algorithm 1 of Liu et al. 2022 (arXiv
    2106.00221). Differs from the paper: Eq. (4) prints the update with a plus
    sign; the update here descends.

    With `ca.Concurrent`, a step attacks the batch that it receives and trains
    on the batch before it, so the metrics of `fit` and `train_on_batch` lag one
    batch. While no batch is pending (in the first step, and the first after
    `load_weights`) the step trains on the received batch with a zero
    perturbation. The last batch of a `fit` is attacked and stays pending until
    the next `fit`. `ca.SharedPass` trains on the clean images that it receives.

    The attack runs the auxiliary batch norm in training mode (batch statistics,
    dropout active) and changes no variable. `evaluate` and `predict` use the
    main batch norm in inference mode.

    With `views=2` (the paper's ConAdv + AutoAugment) data are ((clean images,
    augmented images), labels[, sample_weight]). There are three batch norm
    branches with an equal share of the loss each, and the clean view is
    attacked.

    The model trains a copy of the network, `model.network`. The network that
    you pass does not change. `export_network()` returns the trained network
    with ordinary batch norm. Apply later changes to the copy and compile again:
    `model.network.trainable = True`, `model.network.get_layer(name).adapt(
    data)`. A warning reports changes of the network that you passed.

    `fit` logs `loss`; `clean_loss`, `adversarial_loss` and, with two views,
    `augmented_loss` (each with the regularization penalties); the compiled
    metrics of the clean images; and `adversarial_accuracy`. `ca.SharedPass`
    also logs the loss of the start images.

    Attributes:
      network: the trained copy, images to logits.
      attack: the attack, or None.
      step: the `ca.Step` with its options.
      seed: int, key of the random draws.
      views: number of views of each image, 1 or 2.

    Args:
      network: functional or Sequential Keras classifier, images to logits
        [batch, classes]; also of Keras 3 (`import keras`), which is converted
        as by `ca.networks.from_keras_3`. Its batch norms are split into two
        branches. To share one branch between all sub-batches (an ablation),
        pass `split_batch_norm(network, branches=1)`. Normalize inside the
        network, so that epsilon is in pixels.
      attack: `ca.PGD`, `ca.FGSM`, or another `ca.Attack`; None for plain
        training.
      step: the training step. `ca.Concurrent()` is ConAdv and the default with
        an attack; `ca.Sequential()` is DisAdv; `ca.SharedPass()` needs one
        forward and one backward pass; `ca.RotatingRoles()` gives each replica
        one role at a time; `ca.Plain()` is the default without an attack.
      seed: int, for the random starts and targets. Draws are keyed by (seed,
        step) and by the position in the global batch. `fit` counts steps from
        the optimizer's iterations.
      views: 1, or 2 for (clean, augmented) pairs of images, with an attack.
      name: model name.

    Raises:
      ValueError: if the network is subclassed, has several inputs or outputs,
        or has batch norms that cannot be split; if an argument has an invalid
        value; or if the step does not accept the network or the attack.

    Example:
      >>> layers = [tf.keras.Input((4,)), tf.keras.layers.BatchNormalization()]
      >>> network = tf.keras.Sequential([*layers, tf.keras.layers.Dense(3)])
      >>> model = ca.ConAdvModel(network, ca.PGD(8 / 255))
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
        attack: Optional[Attack],
        *,
        step: Optional[steps.Step] = None,
        seed: int = 0,
        views: int = 1,
        name: Optional[str] = None,
    ) -> None:
        source = network
        if is_keras_3(network):
            network = from_keras_3(network)
        if step is None:
            step = steps.Plain() if attack is None else steps.Concurrent()
        _check_arguments(network, attack, step, seed, views)
        step.check(network, attack, views)
        if attack is not None:
            warn_of_random_layers(network)
            warn_of_layer_state(network)
            warn_of_rescaling(network, attack.value_range)
        with _strategy_of(network).scope():
            if attack is None:
                trained = conversion.copy_network(network)
            else:
                trained = split_for_training(network, views + 1)
                check_batch_size(network)
            super().__init__(
                trained,
                attack=attack,
                step=step,
                seed=int(seed),
                views=views,
                source=SourceNetwork(source, network, trained),
                name=name or "conadv",
            )
        self.is_from_keras_3 = is_keras_3(source)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuses to replace a constructor argument."""
        if name in ("attack", "step", "seed", "views") and name in vars(self):
            raise AttributeError(
                f"Expected {name} to stay {getattr(self, name)!r}; received "
                f"{value!r}. Build a new ConAdvModel with model.network."
            )
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        step, attack = vars(self).get("step"), vars(self).get("attack")
        return f"<{type(self).__name__} step={step!r}, attack={attack!r}>"

    def summary(self, *args: Any, **kwargs: Any) -> None:
        """Prints the layers of `network`, and how many batch norms are split.

        Args:
          *args: positional arguments of `tf.keras.Model.summary`.
          **kwargs: keyword arguments of `tf.keras.Model.summary`.
        """
        bound = inspect.signature(super().summary).bind(*args, **kwargs)
        self.network.summary(*args, **kwargs)
        print_line = bound.arguments.get("print_fn") or print
        print_line(conversion.describe_split(self.network))

    def export_network(self) -> tf.keras.Model:
        """Returns the trained network with ordinary batch norm (main branch).

        Returns:
          A plain functional Keras model with its own weights; its `predict`
          equals this model's. It is a network of Keras 3 if this model was
          created from one.
        """
        if self.is_from_keras_3:
            return to_keras_3(self.network)
        return conversion.merge_batch_norm(self.network)

    @property
    def stale_network(self) -> Optional[tf.keras.Model]:
        """The network that the attack runs, or None; do not change it.

        Between two steps its trainable weights are `staleness` updates old (or
        the first ones). It shares everything else with `network`.
        """
        shadow = None if self.runner is None else self.runner.shadow
        return None if shadow is None else shadow.network

    @property
    def stale_weights(self) -> Optional[list[tuple[tf.Variable, tf.Variable]]]:
        """(weight, its stale copy) for each trainable weight, or None."""
        shadow = None if self.runner is None else self.runner.shadow
        return None if shadow is None else shadow.pairs

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments, JSON-serializable.

        Raises:
          ValueError: if the class of the attack or of the step is not
            registered with Keras.
        """
        return {
            "name": self.name,
            "network": tf.keras.layers.serialize(self.network),
            "attack": attacks.serialize(self.attack),
            "step": steps.serialize(self.step),
            "seed": self.seed,
            "views": self.views,
            **({"is_from_keras_3": True} if self.is_from_keras_3 else {}),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "ConAdvModel":
        """Rebuilds a model from `get_config`."""
        if "step" not in config:
            raise ValueError(
                "Expected the config of a ConAdvModel with a step; received "
                f"{sorted(config)}. An older version of conadv_tf saved the "
                "model: load it with that version and save its exported "
                "network (export_network().save)."
            )
        network = tf.keras.layers.deserialize(
            config["network"], custom_objects=custom_objects
        )
        attack = attacks.deserialize(config["attack"], custom_objects)
        step = steps.deserialize(config["step"], custom_objects)
        config = {**config, "network": network, "attack": attack, "step": step}
        is_from_keras_3 = config.pop("is_from_keras_3", False)
        model = cls(**config)
        model.is_from_keras_3 = is_from_keras_3
        return model


def _strategy_of(network: tf.keras.Model) -> tf.distribute.Strategy:
    """Returns the strategy to train with: the network's, as in Keras.

    Raises:
      ValueError: if the current scope is of another strategy.
    """
    own, current = network.distribute_strategy, tf.distribute.get_strategy()
    if own is not current and tf.distribute.has_strategy():
        raise ValueError(
            f"Network {network.name!r} was created in the scope of a "
            f"{type(own).__name__} with {own.num_replicas_in_sync} replica(s), "
            f"and ConAdvModel in that of another {type(current).__name__} "
            f"with {current.num_replicas_in_sync}. Create both in the scope of "
            "one strategy."
        )
    return own


def _check_arguments(
    network: Any, attack: Any, step: Any, seed: Any, views: Any
) -> None:
    """Raises a ValueError for arguments that no step accepts."""
    check_functional(network)
    check_methods(network)
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise ValueError(
            "Expected a network with one input (images) and one output "
            f"(logits); received {len(network.inputs)} inputs and "
            f"{len(network.outputs)} outputs."
        )
    if attack is not None:
        attacks.check_attack(attack)
    if not isinstance(step, steps.Step):
        raise ValueError(
            "Expected step to be a ca.Step, for example ca.Concurrent() or "
            f"ca.SharedPass(); received {step!r}."
        )
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise ValueError(f"Expected an integer seed; received {seed!r}.")
    if (
        not isinstance(views, int)
        or isinstance(views, bool)
        or (views not in (1, 2))
    ):
        raise ValueError(
            "Expected views to be 1, or 2 for (clean, augmented) images; "
            f"received {views!r}."
        )
