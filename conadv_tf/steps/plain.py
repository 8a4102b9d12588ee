"""Plain training: no attack, one batch norm."""

import tensorflow as tf

from conadv_tf.steps.batch import Batch
from conadv_tf.steps.options import Options
from conadv_tf.steps.protocol import Step


class PlainStep(Step):
    """The baseline: what Keras does, but that bad gradients are skipped."""

    @staticmethod
    def is_asked_for(options: Options) -> bool:
        """Without an attack."""
        return options.attack is None

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """See `Step.__call__`."""
        return self.update(batch)
