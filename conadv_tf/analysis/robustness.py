"""Accuracy on adversarial examples made for the network under test."""

from collections.abc import Iterable
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf.analysis.objective import count_examples
from conadv_tf.analysis.objective import forward_function
from conadv_tf.analysis.objective import load_batches
from conadv_tf.attacks import FGSM
from conadv_tf.attacks import labels as classification
from conadv_tf.attacks import loss as loss_lib
from conadv_tf.attacks import PGD
from conadv_tf.types import Attack
from conadv_tf.types import Batches
from conadv_tf.types import Forward
from conadv_tf.types import Loss
from conadv_tf.types import ValueRange


def accuracy(
    network: tf.keras.Model,
    data: Batches,
    attack: Optional[Attack],
    seed: int = 0,
    loss: Optional[Loss] = None,
) -> float:
    """Returns the fraction of images classified correctly under an attack.

    The attack is white-box: it uses gradients of this network. The attack and
    the evaluation run the network in inference mode (see `forward_function`),
    with the main batch norm.

    Args:
      network: Keras model, images to logits, for example an exported network
        or a `ConAdvModel`.
      data: iterable of (images, labels) batches.
      attack: `ca.PGD`, `ca.FGSM` or a callable of that signature; None
        measures clean accuracy.
      seed: int, for random starts, which depend on it and on the index of the
        batch.
      loss: loss that the attack maximizes, callable (labels, logits) -> scalar;
        None is the cross-entropy of logits.

    Returns:
      Float from 0 to 1.

    Raises:
      ValueError: if there are no data, an image lies outside the attack's
        `value_range`, or a row of labels has more than one class; without a
        loss, if an attacked network ends in softmax or sigmoid.

    Example: pixels above 0.5 are of class 1; one pixel is too close to 0.5.
      >>> network = tf.keras.Sequential([tf.keras.layers.Dense(1)])
      >>> network.build([None, 1])
      >>> network.set_weights([np.ones([1, 1]), np.array([-0.5])])
      >>> data = [([[0.2], [0.4], [0.9]], [0, 0, 1])]
      >>> round(ca.analysis.accuracy(network, data, attack=None), 3)
      1.0
      >>> round(ca.analysis.accuracy(network, data, ca.FGSM(0.2)), 3)
      0.667
    """
    if attack is not None:
        loss = loss_lib.loss_or_default(network, loss)
    batches = load_batches(data)
    return _accuracy(
        _traced(network),
        batches,
        attack,
        seed,
        loss,
        loss_lib.decision_boundary(network),
    )


def robust_accuracy(
    network: tf.keras.Model,
    data: Batches,
    epsilons: Iterable[float],
    num_steps: int = 20,
    value_range: ValueRange = (0.0, 1.0),
    seed: int = 0,
    loss: Optional[Loss] = None,
) -> list[dict[str, Any]]:
    """Measures clean accuracy, and accuracy under FGSM and PGD for each radius.

    The attacks use l_inf balls. FGSM starts at the image. PGD starts at a
    random point of the ball and makes steps of 2.5 * epsilon / num_steps (Madry
    et al. 2018, arXiv 1706.06083, with their usual 20 steps).

    Args:
      network: Keras model, images to logits.
      data: iterable of (images, labels) batches; held in memory.
      epsilons: radii, in pixel units of `value_range`.
      num_steps: gradient steps of PGD.
      value_range: (low, high) of valid pixels.
      seed: int, for the random starts.
      loss: loss that attacks maximize, callable (labels, logits) -> scalar;
        None is the cross-entropy of logits.

    Returns:
      List of rows {"attack": "none", "fgsm" or "pgd20" (with the number of
      steps), "epsilon", "accuracy", "num_examples"}.

    Raises:
      ValueError: if there are no data, an image lies outside `value_range`, or
        a row of labels has more than one class; without a loss, if the network
        ends in softmax or sigmoid.

    Example: pixels above 0.5 are of class 1.
      >>> network = tf.keras.Sequential([tf.keras.layers.Dense(1)])
      >>> network.build([None, 1])
      >>> network.set_weights([np.ones([1, 1]), np.array([-0.5])])
      >>> data = [([[0.1], [0.4], [0.65], [0.9]], [0, 0, 1, 1])]
      >>> for row in ca.analysis.robust_accuracy(network, data, [0.12, 0.2]):
      ...     print(row["attack"], row["epsilon"], row["accuracy"])
      none 0.0 1.0
      fgsm 0.12 0.75
      pgd20 0.12 0.75
      fgsm 0.2 0.5
      pgd20 0.2 0.5
    """
    loss = loss_lib.loss_or_default(network, loss)
    forward, boundary = _traced(network), loss_lib.decision_boundary(network)
    batches = load_batches(data)
    cases: list[tuple[str, float, Optional[Attack]]] = [("none", 0.0, None)]
    for epsilon in epsilons:
        fgsm = FGSM(epsilon, value_range=value_range)
        pgd = PGD(epsilon, num_steps=num_steps, value_range=value_range)
        cases.append(("fgsm", epsilon, fgsm))
        cases.append((f"pgd{num_steps}", epsilon, pgd))
    return [
        {
            "attack": name,
            "epsilon": float(epsilon),
            "accuracy": _accuracy(
                forward, batches, attack, seed, loss, boundary
            ),
            "num_examples": count_examples(batches),
        }
        for name, epsilon, attack in cases
    ]


def _traced(network: tf.keras.Model) -> Forward:
    # Attacks loop eagerly, so that all their steps share one trace of the
    # network.
    return tf.function(forward_function(network), reduce_retracing=True)


def _accuracy(
    forward: Forward,
    batches: list[tuple[tf.Tensor, tf.Tensor]],
    attack: Optional[Attack],
    seed: int,
    loss: Optional[Loss],
    decision_boundary: float,
) -> float:
    correct = 0.0
    for index, (images, labels) in enumerate(batches):
        if attack is not None:
            images = attack(
                forward, images, labels, seed=[seed, index], loss=loss
            )
        outputs = forward(images)
        classification.check_single(labels, outputs.shape[-1])
        right = classification.correct(labels, outputs, decision_boundary)
        correct += float(tf.reduce_sum(right))
    return correct / count_examples(batches)
