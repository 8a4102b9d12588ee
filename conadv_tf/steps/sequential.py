"""DisAdv: attack, then update."""

import tensorflow as tf

from conadv_tf.steps.attack_pass import AttackPass
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.options import Options
from conadv_tf.steps.protocol import Step


class SequentialStep(Step):
    """Distributed adversarial learning: tau = 0, one batch after another.

    The attack reads the weights of now, and the update waits for it.
    """

    attack: AttackPass

    @staticmethod
    def is_asked_for(options: Options) -> bool:
        """With an attack and no staleness."""
        return options.attack is not None and options.staleness == 0

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """See `Step.__call__`."""
        adversarial = self.attack(self._model.network, batch)
        return self.update(batch.attacked(adversarial))
