"""Phased placement: at every step a third of the replicas does each thing.

In local placement a replica attacks one batch and trains on both parts of
another: 8/3 of the arithmetic of plain training. Here it does one thing a
step, on a batch of its own three times its share of the global batch, for
three steps:

    attack        x_hat <- attack on x with theta_t, auxiliary batch norm
    adversarial   gradient of L(theta_t+1; x_hat, y), auxiliary batch norm
    clean         gradient of L(theta_t+2; x, y), main batch norm

and replica r begins with the attack where (age + r) mod 3 is 0. Meanwhile it
collects its share of three steps' data, the next batch; no image moves between
replicas. With three of them (A: attack, a: adversarial, c: clean):

    age          0   1   2   3   4   5   6   7   8   9  ...
    replica 0    .   .   .   A   .   c   A   a   c   A
    replica 2    .   .   .   .   A   a   c   A   a   c
    replica 1    .   .   .   .   .   A   a   c   A   a
    update       .   .   .   .   .   *   *   *   *   *

An update is Eq. (4) of Liu et al. 2022 (arXiv 2106.00221) over all replicas,

    g <- 1/2 [mean over the clean replicas + mean over the adversarial ones],

(or the shares of `adversarial_weight`) with one all-reduce, to which
attackers give zeros. As a third of the replicas
holds three shares each, an update trains on as many images as a batch of the
dataset has. Differs from the paper: the clean and the adversarial half of an
update are of different images; each image has its adversarial gradient one
update before its clean one. tau is exactly 1.

What this means for a `fit`:

- Every image is trained on once adversarial and once clean, but for the ends.
  At the start, shares that come before a replica's first attack phase are
  dropped (two thirds of the replicas; one global batch in all), and replica
  0's first adversarial gradient, which has no clean one to go with. At the
  end, what is collected or not yet done with stays untrained.
- The first 5 steps make no update and `iterations` stand still; then there is
  one a step. Metrics of those steps are 0.
- `loss` and the parts' losses and accuracies are means over the images that
  were trained on, in the replicas that did it.
- Random starts are keyed by (seed, step) and by the position in the
  concatenation of all replicas' working batches: repeatable, but another
  number of replicas draws other numbers.
- Moving statistics of a replica change at every third step, by a batch three
  times as large, and are averaged over all replicas as ever.
- There is no shadow copy: gradients leave the conditional before the update,
  which waits for the attack, so the attack reads theta_t as it is.
- No collective stands in a branch: that is why batches need a static size and
  batch norms may not be synchronized.
"""

import tensorflow as tf

from conadv_tf.batch_norm import batch_norm_branch
from conadv_tf.steps.phased_batches import ATTACK
from conadv_tf.steps.phased_batches import FIRST_ATTACK
from conadv_tf.steps.phased_batches import FIRST_UPDATE
from conadv_tf.steps.phased_batches import IDLE
from conadv_tf.steps.phased_batches import NUM_PHASES

_BRANCHES = {"clean": "main", "adversarial": "auxiliary"}


def step(model, received):
    """One step of one replica.

    Args:
      model: a compiled `ConAdvModel`.
      received: `Batch`, the replica's share of a batch of the data.

    Returns:
      Dict of metric values.
    """
    state, batches = model._state, model._state.pending
    age, phase = batches.clock(received)
    with tf.control_dependencies([age]):
        seed = model._next_seed()
    model._count_out_of_range(received)
    statistics = state.update.begin()

    adversarial, gradients = _run(
        model, _phase_or_idle(age, phase), batches.working(), seed
    )
    state.update.apply_gradients(
        model.optimizer,
        gradients,
        statistics,
        after=adversarial,
        ready=age >= FIRST_UPDATE,
    )
    batches.advance(age, phase, received, adversarial)
    return state.metrics.with_parts(model.get_metrics_result())


def _phase_or_idle(age, phase):
    """The phase, or IDLE before there is anything to do in it."""
    first = tf.where(tf.equal(phase, ATTACK), FIRST_ATTACK, FIRST_UPDATE)
    return tf.where(age >= tf.cast(first, age.dtype), phase, IDLE)


def _run(model, phase, batch, seed):
    """Does what the phase says.

    Returns:
      (adversarial images, gradients): the batch's images of before in all
      phases but the attack; zeros where the phase has no gradient, None for
      weights that none has.
    """
    variables = model.network.trainable_variables
    has_gradient = [False] * len(variables)

    def nothing():
        return [tf.zeros(v.shape, v.dtype) for v in variables]

    def train(part):
        gradients = nothing()
        for index, gradient in enumerate(part_gradients(model, batch, part)):
            if gradient is not None:
                has_gradient[index] = True
                gradients[index] = tf.convert_to_tensor(gradient)
        return batch.adversarial, gradients

    adversarial, gradients = tf.switch_case(
        phase,
        [
            lambda: (craft(model, batch, seed), nothing()),
            lambda: train("adversarial"),
            lambda: train("clean"),
            lambda: (batch.adversarial, nothing()),
        ],
    )
    return adversarial, [
        gradient if known else None
        for gradient, known in zip(gradients, has_gradient)
    ]


def craft(model, batch, seed):
    """Attacks a batch with the weights of now; changes no variable.

    Args:
      model: a compiled `ConAdvModel`.
      batch: `Batch`.
      seed: int64 [2].

    Returns:
      float32, shape of the images.
    """
    return model._craft(model.network, batch, seed)


def part_gradients(model, batch, part):
    """A replica's share of the gradients of an update, from one part.

    Args:
      model: a compiled `ConAdvModel`.
      batch: `Batch` with adversarial images.
      part: "clean" or "adversarial".

    Returns:
      List of tensors, None where a weight has no part in it. Their sum over
      all replicas is the gradient of the mean loss of the replicas with this
      part, times its share. Changes moving statistics and metrics.
    """
    with tf.GradientTape() as tape:
        with batch_norm_branch(_BRANCHES[part]):
            logits = model.network(batch.parts()[part], training=True)
        logits = tf.cast(logits, tf.float32)
        loss = model._loss(batch, logits)
        # Keras divided by the number of all replicas; a third has this part.
        weighted = loss * (NUM_PHASES * model._state.shares[part])
    model._record(part, batch, logits, loss)
    if part == "clean":
        model.compiled_metrics.update_state(
            batch.labels, logits, batch.sample_weight
        )
    return model._state.update.gradients(model.optimizer, tape, weighted)
