"""Adversarial examples: PGD and FGSM, their pure pieces, the loss they climb.

`PGD`, `FGSM` and `ScheduledAttack` are what users pass to `ca.ConAdvModel`.
The modules exported beside them are shared with the rest of the package:
`attack_loss_scaling` (gradients that do not vanish in float16), `labels` (what
a label is), `loss` (what an attack climbs), `attack_ops` (the pure pieces of
an attack), `value_range` (valid pixels), `range_faults` (what is said about
others) and `radius` (lengths in units of pixels).
"""

from conadv_tf.attacks import attack_loss_scaling
from conadv_tf.attacks import attack_ops
from conadv_tf.attacks import hyper_parameters
from conadv_tf.attacks import labels
from conadv_tf.attacks import loss
from conadv_tf.attacks import value_range
from conadv_tf.attacks.custom_attacks import check_attack
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
    "attack_loss_scaling",
    "attack_ops",
    "check_attack",
    "deserialize",
    "hyper_parameters",
    "labels",
    "loss",
    "serialize",
    "value_range",
]
