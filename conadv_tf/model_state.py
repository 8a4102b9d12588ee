"""The state of a Keras model between two of its training steps."""

import logging
from typing import Any
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf import steps


class StatefulModel(tf.keras.Model):
    """A Keras model whose training keeps more than weights between steps.

    Attributes:
      runner: the `steps.StepRunner` with the state; None before `compile`.
    """

    # Keras does not track plain objects, so the runner's variables are no
    # weights of the model.
    runner: Optional[steps.StepRunner]
    # True while `fit` runs, and after one that raised an error.
    _is_in_fit = False
    # Sums of the weights when a call left a pending batch.
    _noted: Optional[np.ndarray] = None

    def _compiled_runner(self) -> steps.StepRunner:
        if self.runner is None:
            raise ValueError(
                "Expected a compiled model; call model.compile(...) first."
            )
        return self.runner

    def load_weights(self, *args: Any, **kwargs: Any) -> Any:
        """Loads weights like `tf.keras.Model.load_weights`.

        A pending batch is dropped, because the previous weights attacked it.
        """
        result = super().load_weights(*args, **kwargs)
        self.reset_pending()
        return result

    def set_weights(self, weights: Any) -> None:
        """Sets the weights like `tf.keras.Model.set_weights`.

        If they differ from the weights that attacked a pending batch, the next
        `fit` or `train_on_batch` drops the batch. During `fit` it stays
        pending, because callbacks may set weights for a while.
        """
        self._note_weights()
        super().set_weights(weights)

    def _note_weights(self) -> None:
        """Remembers the weights between two calls while a batch is pending."""
        has_pending = self.runner is not None and self.runner.has_pending()
        if has_pending and self._noted is None and not self._is_in_fit:
            self._noted = self._sums_of_weights()

    def _drop_if_weights_changed(self) -> None:
        """Drops a pending batch, with a log message, if weights were set."""
        noted, self._noted = self._noted, None
        if noted is None or not self.runner or not self.runner.has_pending():
            return
        if not np.array_equal(noted, self._sums_of_weights(), equal_nan=True):
            logging.getLogger(__name__).warning(
                "The pending batch is dropped. The weights of model "
                f"{self.name!r} were set since the last step. Other weights "
                "attacked it."
            )
            self.reset_pending()

    def _sums_of_weights(self) -> np.ndarray:
        """Returns the sum of each trained weight, to notice changes."""
        # Flags may change after `compile`, which has no effect.
        weights = self._compiled_runner().update.weights
        sums = [tf.reduce_sum(each) for each in weights]
        return np.array([float(each) for each in sums])

    def reset_pending(self) -> None:
        """Drops the pending batch and all older stale weights.

        With micro-batches, the sums since the last update are dropped.
        """
        if self.runner is not None:
            with self.distribute_strategy.scope():
                self.runner.reset()

    def check_value_range(self, whole_epoch: bool = False) -> None:
        """Raises a ValueError if training saw NaN or images out of range.

        Args:
          whole_epoch: whether images that use next to nothing of the range
            are an error; otherwise they are a warning.
        """
        if self.runner is not None and self.runner.attack is not None:
            strategy = self.distribute_strategy
            try:
                with strategy.scope():
                    self.runner.attack.check_value_range(strategy, whole_epoch)
            except ValueError:
                self.reset_pending()  # It has the images of the error.
                raise

    @property
    def skipped_steps(self) -> int:
        """Number of updates since `compile` with a gradient not finite."""
        return self._compiled_runner().update.skipped

    @property
    def first_skipped_step(self) -> Optional[int]:
        """`optimizer.iterations` of the first skipped update, or None."""
        return self._compiled_runner().update.first_skipped
