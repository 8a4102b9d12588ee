"""Attacks that generate adversarial examples: PGD and FGSM.

Users pass `PGD`, `FGSM` or `ScheduledAttack` to `ca.ConAdvModel`. The modules
that are exported too serve the rest of the package: `attack_ops` (the pure
functions of an attack), `attack_loss_scaling` (gradients that do not underflow
in float16), `labels` (label formats), `loss` (the loss that an attack
increases) and `value_range` (valid pixels).
"""

from conadv_tf.attacks import accuracy
from conadv_tf.attacks import attack_loss_scaling
from conadv_tf.attacks import attack_ops
from conadv_tf.attacks import labels
from conadv_tf.attacks import loss
from conadv_tf.attacks import value_range
from conadv_tf.attacks.custom_attacks import check_attack
from conadv_tf.attacks.custom_attacks import check_result
from conadv_tf.attacks.fgsm import FGSM
from conadv_tf.attacks.pgd import NoGradientError
from conadv_tf.attacks.pgd import PGD
from conadv_tf.attacks.schedule import ScheduledAttack
from conadv_tf.attacks.serialization import deserialize
from conadv_tf.attacks.serialization import serialize

__all__ = [
    "FGSM",
    "PGD",
    "NoGradientError",
    "ScheduledAttack",
    "accuracy",
    "attack_loss_scaling",
    "attack_ops",
    "check_attack",
    "check_result",
    "deserialize",
    "labels",
    "loss",
    "serialize",
    "value_range",
]
