"""Rotating roles: at each step a third of the replicas plays each role.

In the other steps every replica attacks one batch and trains on the clean and
the adversarial images of another: 8/3 of the arithmetic of plain training.
Here a replica plays one role per step, on a batch of three times its share of
the global batch, for three steps:

    0, attack       x_hat <- attack on x with theta_t, auxiliary batch norm
    1, adversarial  gradient of L(theta_t+1; x_hat, y), auxiliary batch norm
    2, clean        gradient of L(theta_t+2; x, y), main batch norm

Replica r has role (steps + r) mod 3, where steps counts from the reset.
Meanwhile it collects its share of three steps' data, which is its next batch.
No image moves between replicas. With three replicas (A: attack, a: adversarial,
c: clean):

    steps        0   1   2   3   4   5   6   7   8   9  ...
    replica 0    .   .   .   A   .   c   A   a   c   A
    replica 2    .   .   .   .   A   a   c   A   a   c
    replica 1    .   .   .   .   .   A   a   c   A   a
    update       .   .   .   .   .   *   *   *   *   *

An update is Eq. (4) of Liu et al. 2022 (arXiv 2106.00221) over all replicas,

    g <- 1/2 [mean over the clean replicas + mean over the adversarial ones],

(with `weight` w: 1 / (1 + w) [clean + w adversarial]) with one all-reduce, to
which attacking replicas contribute zeros. Since a third of the replicas holds
three shares each, an update trains on as many images as a batch of the dataset
has. Differs from the paper: the clean and the adversarial images of an update
are different ones; an image has its adversarial gradient one update before its
clean one. The staleness is exactly 1.

Consequences for `fit`:

- Every image is trained on once adversarial and once clean, except at the start
  and at the end. At the start, shares that arrive before a replica's first
  attack are dropped (two thirds of the replicas, one global batch in all), and
  so is replica 0's first adversarial gradient, which has no clean counterpart.
  At the end, collected and unfinished batches wait for the next `fit`.
- The first 5 steps make no update, and `iterations` stand still. Then there is
  one update per step. The metrics of the first 5 steps are 0.
- `loss`, the losses and the accuracies of sub-batches are means over the images
  that were trained on, in the replicas that trained on them.
- Random starts are keyed by (seed, step) and by the position in the
  concatenation of all replicas' current batches. They repeat, but another
  number of replicas draws other numbers.
- The moving statistics of a replica change at every third step, by a batch that
  is three times as large, and are averaged over all replicas as usual.
- There is no copy of the weights. Gradients leave the conditional before the
  update, and the update waits for the attack, so the attack reads theta_t.
- No branch of the conditional contains a collective. Therefore batches need a
  static size, and batch norms may not be synchronized.
"""

from collections.abc import Callable
import dataclasses
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf import keras_internals
from conadv_tf.attacks import loss as loss_lib
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch_spec import BatchSpec
from conadv_tf.steps.pending import PipelinedRunner
from conadv_tf.steps.role_batches import NUM_ROLES
from conadv_tf.steps.role_batches import RoleBatches
from conadv_tf.steps.step import check_weight
from conadv_tf.steps.step import Step

Gradients = list[Optional[tf.Tensor]]
# Returns the adversarial images and gradients, or None for no gradients.
Role = Callable[[], tuple[tf.Tensor, Optional[Gradients]]]

# Steps after which the replica of a role has a batch for it: for the attack,
# then for all roles, when updates begin.
_FIRST_ATTACK = NUM_ROLES
_FIRST_UPDATE = 2 * NUM_ROLES - 1


class RotatingRolesRunner(PipelinedRunner):
    """Attacks, or trains on adversarial images, or trains on clean ones."""

    def prepare(self, element_spec: Any, static: bool) -> None:
        """Creates the buffers, which always have static shapes."""
        super().prepare(element_spec, static=True)

    def prepare_in_trace(self, data: Any) -> None:
        """Refuses training loops of the user."""
        raise ValueError(
            "Expected fit or train_on_batch with step=ca.RotatingRoles(); "
            "received a call of train_step. In a custom training loop use "
            "another step."
        )

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Executes one training step of one replica, with its share."""
        steps, role = self.buffers.step_and_role(batch)
        with tf.control_dependencies([steps]):
            seed = self.attack.next_seed()
        self.attack.count_out_of_range(batch)
        statistics = self.update.snapshot_statistics()
        adversarial, gradients = self._play(steps, role, seed)
        self.update.apply_gradients(
            gradients,
            statistics,
            after=adversarial,
            ready=steps >= _FIRST_UPDATE,
        )
        self.buffers.rotate(steps, role, batch, adversarial)
        return self.loss.complete_logs(self.context.metrics.results())

    def _roles(self, seed: tf.Tensor) -> list[Role]:
        """Returns the roles of a replica, none of which has a collective."""
        batch = self.buffers.current_batch()
        generated = self.buffers.generated()

        def attack() -> tuple[tf.Tensor, None]:
            network = self.context.network
            attacked = batch.attacked_sub_batch()
            return self.attack.generate(network, attacked, seed), None

        def adversarial() -> tuple[tf.Tensor, Gradients]:
            attacked = batch.with_adversarial(generated)
            return generated, self.gradients(attacked, "adversarial")

        def clean() -> tuple[tf.Tensor, Gradients]:
            return generated, self.gradients(batch, "clean")

        def wait() -> tuple[tf.Tensor, None]:
            return generated, None

        return [attack, adversarial, clean, wait]

    def _play(
        self, steps: tf.Tensor, role: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, Gradients]:
        """Plays a role.

        Returns:
          (adversarial images generated last, gradients). Gradients are zero if
          the role has none, and None for weights that no role uses.
        """
        weights = self.update.weights
        has_gradient = [False] * len(weights)

        def branch(play: Role) -> Callable[[], tuple[tf.Tensor, Gradients]]:
            def run() -> tuple[tf.Tensor, Gradients]:
                adversarial, gradients = play()
                full = [tf.zeros(v.shape, v.dtype) for v in weights]
                for index, gradient in enumerate(gradients or []):
                    if gradient is not None:
                        has_gradient[index] = True
                        full[index] = tf.convert_to_tensor(gradient)
                return adversarial, full

            return run

        # A replica waits until it has a batch for its role.
        first = tf.where(tf.equal(role, 0), _FIRST_ATTACK, _FIRST_UPDATE)
        index = tf.where(steps >= tf.cast(first, steps.dtype), role, NUM_ROLES)
        adversarial, gradients = tf.switch_case(
            index, [branch(play) for play in self._roles(seed)]
        )
        return adversarial, [
            gradient if known else None
            for gradient, known in zip(gradients, has_gradient)
        ]

    def gradients(self, batch: Batch, name: str) -> Gradients:
        """Returns a replica's share of the gradients, from one sub-batch.

        The sum over all replicas is the gradient of the mean loss over the
        replicas with this role, times the share of the sub-batch. The call
        changes moving statistics and metrics.

        Args:
          batch: `Batch` with that sub-batch.
          name: name of the sub-batch.

        Returns:
          List of tensors, None for weights that the loss does not use.
        """
        with tf.GradientTape() as tape:
            outputs = self.loss({name: batch.sub_batches()[name]})
            # Keras divided by the number of all replicas; a third has the role.
            loss = outputs.loss * NUM_ROLES
        self.loss.update_metrics(batch, outputs)
        if name == "clean":
            self.context.metrics.update_metrics(
                batch.labels, outputs.logits[name], batch.sample_weight
            )
        return self.update.gradients(tape, loss)

    def train_function(
        self, make: Callable[[], Callable[[Any], Any]]
    ) -> Callable[[Any], Any]:
        """Returns the training function; checks the number of replicas."""
        self.step.check_strategy(self.context.strategy)
        return super().train_function(make)

    def new_buffers(self, spec: BatchSpec, static: bool) -> RoleBatches:
        """Returns buffers for the shares and the current batch."""
        return RoleBatches(spec)


@tf.keras.utils.register_keras_serializable(package="conadv_tf")
@dataclasses.dataclass(frozen=True, kw_only=True)
class RotatingRoles(Step):
    """ConAdv with one role per replica and step; the roles rotate.

    At each step a third of the replicas attacks, a third trains on adversarial
    images and a third on clean ones, each on three times its share of the
    batch. A step is as long as plain training on three times as many
    processors. It needs replicas in threes, one view, batches of one static
    size, and batch norms that are not synchronized. The module
    `conadv_tf.steps.rotating_roles` describes the schedule.

    Attributes:
      weight: weight w >= 0 of the adversarial loss:
        (clean + w adversarial) / (1 + w).

    Raises:
      ValueError: if the weight has an invalid value.

    Example:
      >>> ca.RotatingRoles()
      RotatingRoles(weight=1.0)
    """

    weight: float = 1.0
    runner = RotatingRolesRunner
    staleness = 1

    def __post_init__(self) -> None:
        """Checks the options."""
        super().__post_init__()
        check_weight(self.weight)

    def check(self, network: tf.keras.Model, attack: Any, views: int) -> None:
        """Refuses two views and synchronized batch norms."""
        super().check(network, attack, views)
        if views != 1:
            raise ValueError(
                "Expected views=1 with step=ca.RotatingRoles(), whose roles "
                "are attack, adversarial and clean; received "
                f"views={views!r}. step=ca.Concurrent(...) takes two views."
            )
        synchronized = [
            layer.name
            for layer in keras_internals.flatten_layers(network)
            if getattr(layer, "synchronized", False)
            or isinstance(layer, keras_internals.SyncBatchNormalization)
        ]
        if synchronized:
            raise ValueError(
                "Expected batch norms with statistics per replica with "
                "step=ca.RotatingRoles(), where only some of the replicas run "
                f"a batch norm at a time; received {synchronized}, which are "
                "synchronized. Pass synchronized=False; a local batch has "
                "three times its share of images here."
            )

    def check_strategy(self, strategy: tf.distribute.Strategy) -> None:
        """Refuses a number of replicas that is not a multiple of three."""
        count = strategy.num_replicas_in_sync
        if count % NUM_ROLES:
            raise ValueError(
                f"Expected a multiple of {NUM_ROLES} replicas to train with "
                "step=ca.RotatingRoles(), where at each step a third of them "
                "attacks, a third trains on adversarial images and a third on "
                f"clean ones; received {count}. Use another step or another "
                "number of replicas."
            )

    def check_compiled(self, loss: Any, steps_per_execution: int) -> None:
        """Refuses a loss that is a sum: the replicas' means are weighted."""
        reason = "which weights the means of batches of three shares"
        loss_lib.check_mean(loss, "ca.RotatingRoles()", reason)
