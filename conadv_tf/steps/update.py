"""The update of the weights by one batch, Eq. (4) of the paper."""

from collections.abc import Sequence
from typing import Optional

import tensorflow as tf

from conadv_tf.steps.batch import Batch
from conadv_tf.steps.guarded_update import GuardedUpdate
from conadv_tf.steps.parts import Loss


class Update:
    """Theta <- optimizer(theta, gradient of the loss), unless not finite.

    Create it under the strategy scope.

    Args:
      model: a compiled `ConAdvModel`.
      loss: the `Loss` of a batch.
    """

    def __init__(self, model: tf.keras.Model, loss: Loss) -> None:
        self._model = model
        self._loss = loss
        self.guarded = GuardedUpdate(model.network)

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Updates weights, slots, moving statistics and metrics.

        Returns:
          The logs of Keras.
        """
        statistics = self.guarded.begin()
        with tf.GradientTape() as tape:
            outputs = self._loss(batch.parts())
        self.guarded.apply_gradients(
            self._model.optimizer,
            self.gradients(tape, outputs.loss),
            statistics,
            after=outputs.loss,
        )
        return self._loss.logs(batch, outputs)

    def gradients(
        self,
        tape: tf.GradientTape,
        loss: tf.Tensor,
        others: Sequence[tf.Tensor] = (),
    ) -> list[Optional[tf.Tensor]]:
        """Of a loss by the weights; see `GuardedUpdate.gradients`."""
        return self.guarded.gradients(self._model.optimizer, tape, loss, others)
