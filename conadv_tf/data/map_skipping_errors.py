"""A parallel map that goes on after an error, and tells whose it was.

tf.data can leave out elements whose function fails, but not say which. So
records go through the map in groups that are held in memory, numbered; a number
that does not come out is reported, with its record. Errors of what comes before
(a file of records that ends too early) and behind are not caught, and what
comes out costs no Python and is not copied.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Records that wait together, encoded: 110 MB of ImageNet. Far more than are in
# the works at one time, because the map runs dry at the end of a group.
_GROUP = 1024


def map_skipping_errors(
    records: tf.data.Dataset,
    make: Callable[..., Any],
    report: Callable[..., tf.Tensor],
) -> tf.data.Dataset:
    """Maps records in parallel and in order, without those that fail.

    Args:
      records: dataset of tuples.
      make: function of a record, which may fail.
      report: function of a record that failed, with a bool tensor as result
        that does not matter; if it fails, so does the dataset. Called before
        the next one that did not fail comes out.

    Returns:
      Dataset of what `make` returns.
    """

    def without_failed(*columns: tf.data.Dataset) -> tf.data.Dataset:
        group = tf.data.Dataset.zip(columns)
        made = (
            group.enumerate()
            .map(
                lambda number, record: (number, make(*record)),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            .ignore_errors()
        )
        # One more number than there can be, for those that failed last.
        end = tf.constant(_GROUP, tf.int64)
        nothing = tf.nest.map_structure(_nothing, made.element_spec[1])
        made = made.concatenate(tf.data.Dataset.from_tensors((end, nothing)))

        def look(
            expected: tf.Tensor, numbered: tuple[tf.Tensor, Any]
        ) -> tuple[tf.Tensor, tuple[tf.Tensor, Any]]:
            number, result = numbered

            def report_failed() -> tf.Tensor:
                failed = group.skip(expected).take(number - expected)
                # One after the other; a map may run ahead of an error.
                return failed.reduce(
                    True, lambda told, one: tf.logical_or(told, report(*one))
                )

            told = tf.cond(number == expected, lambda: True, report_failed)
            return number + 1, (tf.logical_and(told, number < end), result)

        # What only picks from an element is no call of a function.
        return (
            made.scan(tf.constant(0, tf.int64), look)
            .filter(lambda one_of_them, result: one_of_them)
            .map(lambda one_of_them, result: result)
        )

    return records.window(_GROUP).flat_map(without_failed)


def _nothing(spec: tf.TensorSpec) -> tf.Tensor:
    return tf.zeros([size or 0 for size in spec.shape], spec.dtype)
