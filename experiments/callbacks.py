"""Callbacks of a run that are not the library's."""

import tensorflow as tf


class LearningRateLogger(tf.keras.callbacks.Callback):
    """Adds the learning rate of the last update to an epoch's logs."""

    def on_epoch_end(self, epoch, logs=None):
        """Reads it from the optimizer."""
        if logs is not None:
            optimizer = self.model.optimizer
            rate = optimizer.learning_rate
            if callable(rate):  # tensorflow-addons's keep the schedule here.
                rate = rate(optimizer.iterations - 1)
            # Of several replicas it is no number by itself.
            logs["learning_rate"] = float(tf.convert_to_tensor(rate))


def tensorboard(config, model_dir):
    """Keras's TensorBoard callback, or none, as a list."""
    if not config.tensorboard and config.profile_batches is None:
        return []
    profile = config.profile_batches
    return [
        tf.keras.callbacks.TensorBoard(
            str(model_dir / "tensorboard"),
            profile_batch=[int(n) for n in profile.split(",")]
            if profile
            else 0,
        )
    ]
