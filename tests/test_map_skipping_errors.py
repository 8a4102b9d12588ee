"""A parallel map that continues after an error, and reports failed records."""

import numpy as np
import pytest
import tensorflow as tf

from conadv_tf.data import map_skipping_errors


# Failures are reported in order, whatever runs at the same time. Records that
# are cancelled by `take` are not reported.
def test_failed_records_are_skipped_and_reported_in_order(monkeypatch):
    monkeypatch.setattr(map_skipping_errors, "_WINDOW_SIZE", 8)
    failed, reported = [0, 1, 6, 7, 8, 15, *range(24, 32), 35], []
    fatal = []

    def multiply(number, bad):
        with tf.control_dependencies([tf.debugging.Assert(~bad, [number])]):
            return 10 * number

    def report(number, bad):
        def add(number):
            reported.append(int(number))
            if reported[-1] in fatal:
                raise ValueError(f"number {reported[-1]} is fatal")
            return False

        return tf.py_function(add, [number], tf.bool)

    def mapped(records):
        return map_skipping_errors.map_skipping_errors(
            records, multiply, report
        )

    bad = np.isin(np.arange(36), failed)
    records = tf.data.Dataset.from_tensor_slices((np.arange(36), bad))
    results = mapped(records)
    for _ in range(2):
        found = [int(number) for number in results]
        assert found == [10 * n for n in range(36) if n not in failed]
        assert reported == failed
        reported.clear()
    for count in range(1, 9):
        found = [int(number) for number in results.take(count)]
        assert found == [20, 30, 40, 50, 90, 100, 110, 120][:count]
        assert reported == [0, 1] + [6, 7, 8] * (count > 4)
        reported.clear()
    # Errors of earlier transformations are not caught.
    with pytest.raises(tf.errors.InvalidArgumentError, match="by zero"):
        list(mapped(records.map(lambda n, bad: (n // (n - 3), bad))))
    assert reported == []
    # Nothing is reported after an error of `report`, which repeats.
    fatal.append(0)
    iterator = iter(results)
    for _ in range(2):
        with pytest.raises(tf.errors.InvalidArgumentError, match="number 0 is"):
            next(iterator)
    assert set(reported) == {0}
