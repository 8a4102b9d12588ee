"""The update of the weights by one batch, Eq. (4) of the paper."""

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
        optimizer = self._model.optimizer
        gradients = self.guarded.gradients(optimizer, tape, outputs.loss)
        self.guarded.apply_gradients(
            optimizer, gradients, statistics, after=outputs.loss
        )
        return self._loss.logs(batch, outputs)
