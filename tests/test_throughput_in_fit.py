"""ThroughputLogger in a real fit, compared with another clock."""

import time

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca


class _Stopwatch(tf.keras.callbacks.Callback):
    """Measures wall-clock time independently of the logger."""

    def __init__(self):
        super().__init__()
        self.seconds = 0.0
        self.compiled = False

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])
        self.ended = time.perf_counter()
        if not self.compiled:
            self.compiled = True
            self.started = self.ended

    def on_epoch_end(self, epoch, logs=None):
        self.seconds += self.ended - self.started


def _slow_batches(count, size, last_size):
    """Yields a batch every 20 ms, so that 3% is above the noise."""
    for index in range(count):
        time.sleep(0.02)
        n = last_size if index == count - 1 else size
        yield np.ones([n, 4], np.float32), np.ones([n, 1], np.float32)


@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_rate_agrees_with_wall_time_in_fit(steps_per_execution):
    size, last_size, count, epochs = 8, 4, 9, 2
    data = tf.data.Dataset.from_generator(
        lambda: _slow_batches(count, size, last_size),
        output_signature=(
            tf.TensorSpec([None, 4], tf.float32),
            tf.TensorSpec([None, 1], tf.float32),
        ),
    ).apply(tf.data.experimental.assert_cardinality(count))
    examples = (count - 1) * size + last_size
    model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse", steps_per_execution=steps_per_execution)
    logger = ca.ThroughputLogger(size, examples)
    stopwatch = _Stopwatch()
    history = model.fit(
        data,
        epochs=epochs,
        validation_data=data,
        callbacks=[logger, stopwatch],
        verbose=0,
    ).history
    images = epochs * examples - steps_per_execution * size
    rate = images / stopwatch.seconds
    assert sum(row["images"] for row in logger.history) == images
    assert logger.images_per_second == pytest.approx(rate, rel=0.03)
    # At least the time of the data, but not the time of validation.
    assert 18 <= logger.step_time_ms <= 60
    for name in ("images_per_second", "step_time_ms"):
        assert history[name] == [row[name] for row in logger.history]
    assert not [name for name in history if name.endswith("_p50")]


# Later callbacks in the list and the progress bar receive the rate.
def test_batch_logs_reach_other_callbacks():
    seen = []
    other = tf.keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(logs)
    )
    model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(
        np.ones([24, 4]),
        np.ones([24, 1]),
        batch_size=8,
        callbacks=[ca.ThroughputLogger(8), other],
        verbose=0,
    )
    assert [logs["images_per_second"] > 0 for logs in seen[1:]] == [True] * 2
