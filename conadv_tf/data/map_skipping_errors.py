"""A parallel map that continues after an error, and reports failed records.

tf.data can skip elements whose function fails, but does not tell which ones.
Here records go through the map in windows that are held in memory, numbered. A
number that is missing from the output is reported, with its record. Errors
before the map (a file of records that ends too early) and after it are not
caught. Records that succeed are not copied and never pass through Python.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Encoded records held in memory at a time: 110 MB of ImageNet. Far more than
# are processed in parallel, because the map runs dry at the end of a window.
_WINDOW_SIZE = 1024


def map_skipping_errors(
    records: tf.data.Dataset,
    map_func: Callable[..., Any],
    report: Callable[..., tf.Tensor],
) -> tf.data.Dataset:
    """Maps records in parallel and in order, and skips those that fail.

    Args:
      records: dataset of tuples.
      map_func: function of a record, which may fail.
      report: function of a failed record that returns a bool tensor, whose
        value is ignored. If it fails, so does the dataset. It is called before
        the next successful record is produced.

    Returns:
      Dataset of the results of `map_func`.
    """

    def map_window(*columns: tf.data.Dataset) -> tf.data.Dataset:
        window = tf.data.Dataset.zip(columns)
        mapped = (
            window.enumerate()
            .map(
                lambda number, record: (number, map_func(*record)),
                num_parallel_calls=tf.data.AUTOTUNE,
                deterministic=True,
            )
            .ignore_errors()
        )
        # A number larger than all others reports failures at the end.
        end = tf.constant(_WINDOW_SIZE, tf.int64)
        padding = tf.nest.map_structure(_zeros, mapped.element_spec[1])
        mapped = mapped.concatenate(
            tf.data.Dataset.from_tensors((end, padding))
        )

        def report_missing(
            expected: tf.Tensor, numbered: tuple[tf.Tensor, Any]
        ) -> tuple[tf.Tensor, tuple[tf.Tensor, Any]]:
            number, result = numbered

            def report_failed() -> tf.Tensor:
                failed = window.skip(expected).take(number - expected)
                # A reduction reports in order; a map may run ahead of an error.
                return failed.reduce(
                    True, lambda done, one: tf.logical_or(done, report(*one))
                )

            done = tf.cond(number == expected, lambda: True, report_failed)
            return number + 1, (tf.logical_and(done, number < end), result)

        # tf.data selects components of an element without a function call.
        return (
            mapped.scan(tf.constant(0, tf.int64), report_missing)
            .filter(lambda is_record, result: is_record)
            .map(lambda is_record, result: result)
        )

    return records.window(_WINDOW_SIZE).flat_map(map_window)


def _zeros(spec: tf.TensorSpec) -> tf.Tensor:
    return tf.zeros([size or 0 for size in spec.shape], spec.dtype)
