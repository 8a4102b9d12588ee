"""A parallel map that goes on after an error, and tells whose it was."""

import numpy as np
import pytest
import tensorflow as tf

from conadv_tf.data import map_skipping_errors


# What failed is told in order, whatever runs at the same time; what was called
# off is no fault.
def test_a_guarded_map_tells_what_failed(monkeypatch):
    monkeypatch.setattr(map_skipping_errors, "_GROUP", 8)
    failed, told = [0, 1, 6, 7, 8, 15, *range(24, 32), 35], []
    fatal = []

    def make(number, bad):
        with tf.control_dependencies([tf.debugging.Assert(~bad, [number])]):
            return 10 * number

    def report(number, bad):
        def tell(number):
            told.append(int(number))
            if told[-1] in fatal:
                raise ValueError(f"number {told[-1]} is fatal")
            return False

        return tf.py_function(tell, [number], tf.bool)

    bad = np.isin(np.arange(36), failed)
    records = tf.data.Dataset.from_tensor_slices((np.arange(36), bad))
    made = map_skipping_errors.map_skipping_errors(records, make, report)
    for _ in range(2):
        found = [int(number) for number in made]
        assert found == [10 * n for n in range(36) if n not in failed]
        assert told == failed
        told.clear()
    for count in range(1, 9):
        found = [int(number) for number in made.take(count)]
        assert found == [20, 30, 40, 50, 90, 100, 110, 120][:count]
        assert told == [0, 1] + [6, 7, 8] * (count > 4)
        told.clear()
    # What comes before and behind fails as it did.
    late = records.map(lambda n, bad: (n // (n - 3), bad))
    with pytest.raises(tf.errors.InvalidArgumentError, match="by zero"):
        list(map_skipping_errors.map_skipping_errors(late, make, report))
    assert told == []
    # One that is fatal is the last that is told, as often as one asks.
    fatal.append(0)
    iterator = iter(made)
    for _ in range(2):
        with pytest.raises(tf.errors.InvalidArgumentError, match="number 0 is"):
            next(iterator)
    assert set(told) == {0}
