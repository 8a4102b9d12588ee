"""ThroughputLogger with a fake clock and hand-written logs."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca


class _Clock:
    """A clock that only tests advance."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class _Training:
    """Calls a logger's hooks like Keras's fit, for steps of given duration."""

    def __init__(self, steps=None, **arguments):
        arguments = {"global_batch_size": 10, **arguments}
        self.logger = ca.ThroughputLogger(**arguments)
        self.clock = self.logger._clock = _Clock()
        self.logger.set_model(tf.keras.Sequential([tf.keras.layers.Dense(1)]))
        self.logger.set_params({"steps": steps})
        self.epochs = 0
        self.logger.on_train_begin()

    def epoch(self, seconds, steps_per_call=1, total_steps=None, after=0.0):
        """Makes calls of these durations; `after` follows the last batch."""
        self.logger.on_epoch_begin(self.epochs)
        batch_logs, last = [], -1
        for duration in seconds:
            first, last = last + 1, last + steps_per_call
            if total_steps is not None:
                last = min(last, total_steps - 1)
            self.logger.on_train_batch_begin(first)
            self.clock.now += duration
            logs = {"loss": 1.0}
            self.logger.on_train_batch_end(last, logs)
            batch_logs.append(logs)
        self.clock.now += after  # Validation.
        epoch_logs = {"loss": 1.0}
        self.logger.on_epoch_end(self.epochs, epoch_logs)
        self.clock.now += after  # Checkpoints of other callbacks.
        self.epochs += 1
        return batch_logs, epoch_logs


def test_rate_and_step_time_exclude_the_first_call():
    training = _Training()
    batch_logs, epoch_logs = training.epoch([60.0, 0.5, 0.5, 1.0])
    assert "images_per_second" not in batch_logs[0]
    rates = [logs["images_per_second"] for logs in batch_logs[1:]]
    assert rates == pytest.approx([20.0, 20.0, 15.0])
    assert epoch_logs["images_per_second"] == pytest.approx(15.0)
    assert epoch_logs["step_time_ms"] == pytest.approx(2000 / 3)
    assert epoch_logs["loss"] == 1.0
    # History and the progress bar show only these two.
    assert set(epoch_logs) == {"loss", "images_per_second", "step_time_ms"}


def test_later_epochs_count_from_their_first_step():
    training = _Training()
    training.epoch([60.0, 1.0])
    _, logs = training.epoch([2.0, 2.0])
    assert logs["images_per_second"] == pytest.approx(5.0)
    assert logs["step_time_ms"] == pytest.approx(2000.0)
    # Over both epochs: 30 images in 5 s; median of 1, 2 and 2 s.
    assert training.logger.images_per_second == pytest.approx(6.0)
    assert training.logger.step_time_ms == pytest.approx(2000.0)


def test_percentiles_of_step_times():
    training = _Training()
    times = np.arange(1, 101) / 1000
    training.epoch([60.0, *np.random.default_rng(0).permutation(times)])
    (row,) = training.logger.history
    assert row["step_time_ms"] == pytest.approx(50.5)
    for q in (50, 90, 99):
        expected = np.percentile(times * 1e3, q)
        assert row[f"step_time_ms_p{q}"] == pytest.approx(expected)
    assert row["epoch"] == 0
    assert row["images"] == 1000
    assert row["seconds"] == pytest.approx(5.05)
    assert row["images_per_second_per_replica"] == row["images_per_second"]


# 3 full batches of 10 and one of 4.
def test_smaller_last_batch_is_counted_by_examples_per_epoch():
    training = _Training(examples_per_epoch=34)
    training.epoch([60.0, 1.0, 1.0, 1.0])
    training.epoch([1.0] * 4)
    assert [row["images"] for row in training.logger.history] == [24, 34]
    assert training.logger.images_per_second == pytest.approx(58 / 7)


# Keras passes the index of the last step of a call.
@pytest.mark.parametrize("total_steps, last", [(12, 4), (10, 2)])
def test_calls_of_several_steps(total_steps, last):
    training = _Training()
    training.epoch([60.0, 2.0, 2.0], 4, total_steps)
    (row,) = training.logger.history
    assert row["images"] == 10 * (4 + last)
    assert row["images_per_second"] == pytest.approx(row["images"] / 4.0)
    # Each step of a call gets an equal share of its time.
    times = [500.0] * 4 + [2000.0 / last] * last
    assert row["step_time_ms"] == pytest.approx(np.mean(times))
    assert row["step_time_ms_p50"] == pytest.approx(np.median(times))


def test_time_of_validation_and_other_callbacks_does_not_count():
    training = _Training()
    training.epoch([60.0, 1.0, 1.0], after=100.0)
    _, logs = training.epoch([1.0, 1.0, 1.0], after=100.0)
    assert logs["images_per_second"] == pytest.approx(10.0)
    assert training.logger.images_per_second == pytest.approx(10.0)


def test_an_epoch_that_only_compiled_has_no_rate():
    training = _Training()
    _, logs = training.epoch([60.0])
    assert np.isnan(logs["images_per_second"])
    assert np.isnan(logs["step_time_ms"])
    assert training.logger.history == []
    assert np.isnan(training.logger.images_per_second)
    assert np.isnan(training.logger.step_time_ms)


def test_a_second_fit_starts_a_new_measurement():
    training = _Training()
    training.epoch([60.0, 1.0])
    training.logger.on_train_end()
    training.logger.on_train_begin()
    training.epoch([30.0, 2.0])
    assert [row["seconds"] for row in training.logger.history] == [2.0]
    assert training.logger.step_time_ms == pytest.approx(2000.0)


# `ca.Delayed` traces a second step when its attack starts.
def test_the_first_call_of_a_delayed_attack_does_not_count():
    training = _Training()
    runner = training.logger.model.runner = SimpleNamespace(has_started=False)
    training.epoch([60.0, 0.5])
    training.epoch([0.5])
    runner.has_started = True
    _, logs = training.epoch([60.0, 0.25])
    assert logs["images_per_second"] == 40
    assert training.logger.images_per_second == 30 / 1.25
    _, logs = training.epoch([0.5])
    assert logs["images_per_second"] == 20


def test_rate_per_replica():
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
    training = _Training()
    training.logger.set_model(model)
    training.epoch([60.0, 1.0])
    (row,) = training.logger.history
    assert row["images_per_second"] == pytest.approx(10.0)
    assert row["images_per_second_per_replica"] == pytest.approx(5.0)


class _Pending(tf.Tensor):
    """A result that the device is still computing; reading it takes 1 s."""

    def __init__(self, clock):
        self.clock = clock
        self.reads = 0

    def numpy(self):
        self.clock.now += 1.0
        self.reads += 1


@pytest.mark.parametrize(
    "synchronize, steps, reads",
    [
        (True, 3, [1, 1, 1]),
        (False, 3, [0, 0, 1]),  # Only the end of the epoch is exact.
        (False, None, [1, 1, 1]),  # It is unknown which step is the last.
    ],
)
def test_synchronize_waits_for_each_step(synchronize, steps, reads):
    training = _Training(steps=steps, synchronize=synchronize)
    logger = training.logger
    logger.on_epoch_begin(0)
    pending = [_Pending(training.clock) for _ in range(3)]
    for batch, result in enumerate(pending):
        training.clock.now += 0.25
        logger.on_train_batch_end(batch, {"loss": result})
    assert [result.reads for result in pending] == reads


def test_csv_has_the_rows_of_history(tmp_path):
    path = tmp_path / "throughput.csv"
    path.write_text("from an earlier run")
    training = _Training(csv_path=str(path))
    training.epoch([60.0, 1.0, 2.0])
    training.epoch([1.0, 3.0])
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    history = training.logger.history
    assert len(rows) == len(history) == 2
    for row, expected in zip(rows, history):
        assert {k: float(v) for k, v in row.items()} == expected
    assert [p.name for p in tmp_path.iterdir()] == ["throughput.csv"]


def test_mllog_lines(tmp_path):
    path = tmp_path / "mllog.txt"
    training = _Training(mllog_path=str(path))
    training.epoch([60.0, 1.0])
    training.epoch([2.0, 2.0])
    training.logger.on_train_end()
    lines = path.read_text().splitlines()
    assert all(line.startswith(":::MLLOG {") for line in lines)
    events = [json.loads(line[len(":::MLLOG ") :]) for line in lines]
    assert [event["key"] for event in events] == [
        "run_start",
        *["block_start", "throughput", "block_stop"] * 2,
        "run_stop",
    ]
    assert [e["value"] for e in events if e["key"] == "throughput"] == [10, 5]
    assert [e["metadata"].get("epoch_num") for e in events][2::3] == [0, 1]
    assert events[-1]["metadata"] == {"status": "success"}
    assert events[0]["event_type"] == "INTERVAL_START"
    assert all(
        set(event)
        == {"namespace", "time_ms", "event_type", "key", "value", "metadata"}
        for event in events
    )


def test_tensorboard_scalars(tmp_path):
    training = _Training(log_dir=str(tmp_path))
    training.epoch([60.0, 1.0])
    training.epoch([2.0, 2.0])
    training.logger.on_train_end()
    (path,) = tmp_path.iterdir()
    values = {}
    for event in tf.compat.v1.train.summary_iterator(str(path)):
        for value in event.summary.value:
            number = float(tf.make_ndarray(value.tensor))
            values.setdefault(value.tag, {})[event.step] = number
    assert values["throughput/images_per_second"] == {0: 10.0, 1: 5.0}
    assert values["throughput/step_time_ms_p99"] == {0: 1000.0, 1: 2000.0}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"global_batch_size": 0}, "global_batch_size > 0; received 0"),
        (
            {"global_batch_size": 8, "examples_per_epoch": -1},
            "examples_per_epoch > 0; received -1",
        ),
    ],
)
def test_invalid_sizes(arguments, message):
    with pytest.raises(ValueError, match=message):
        ca.ThroughputLogger(**arguments)
