"""Finds, names and counts bad records, and skips them only if asked."""

from collections.abc import Callable
import logging
import threading
from typing import NoReturn
from typing import Optional

import tensorflow as tf


class BadRecords:
    """The bad records of a dataset, and the limit on how many are skipped.

    Attributes:
      found: dict from the name of each skipped record (a file, or the id that
        tensorflow-datasets gives a record) to a description of its problem.
      max_bad_records: number of records that may be skipped before the next
        one is an error.
      error: message of the error that stopped the pipeline; None if none did.
    """

    def __init__(self, num_classes: int, max_bad_records: int = 0) -> None:
        """Starts with no bad records.

        Args:
          num_classes: valid labels are 0 to num_classes - 1.
          max_bad_records: number of records that may be skipped, >= 0.
        """
        if max_bad_records < 0:
            raise ValueError(
                f"Expected max_bad_records >= 0; received {max_bad_records}."
            )
        self.found: dict[str, str] = {}
        self.error: Optional[str] = None
        self._num_classes = num_classes
        self.max_bad_records = max_bad_records
        self._lock = threading.Lock()

    def is_valid_label(self, label: tf.Tensor) -> tf.Tensor:
        """Returns a bool tensor: whether the label is a class number."""
        return tf.logical_and(label >= 0, label < self._num_classes)

    def report(
        self,
        diagnose: Callable[..., Optional[str]],
        label: tf.Tensor,
        name: tf.Tensor,
        *inputs: tf.Tensor,
    ) -> tf.Tensor:
        """Diagnoses a failed record on the host, and skips it or stops.

        Args:
          diagnose: eager function of `inputs` that returns a description of
            the problem, or None. Errors that it raises are not blamed on the
            record.
          label: int scalar.
          name: string scalar.
          *inputs: tensors.

        Returns:
          False. If there are more than `max_bad_records`, or `diagnose` fails,
          running it raises a `tf.errors.InvalidArgumentError` whose message
          ends with `error`.
        """

        def add(label: tf.Tensor, name: tf.Tensor, *inputs: tf.Tensor) -> bool:
            text = name.numpy().decode(errors="backslashreplace")
            with self._lock:
                if text not in self.found:  # Each epoch finds it again.
                    self._add(text, int(label), lambda: diagnose(*inputs))
            return False

        added = tf.py_function(add, [label, name, *inputs], tf.bool)
        return tf.ensure_shape(added, ())

    def _add(
        self, name: str, label: int, diagnose: Callable[[], Optional[str]]
    ) -> None:
        if not 0 <= label < self._num_classes:
            problem = f"label {label} outside 0 to {self._num_classes - 1}"
        else:
            try:
                problem = diagnose() or "failed once, but not the second time"
            except Exception as error:
                self._stop(
                    f"The image of record {name!r} is valid, but a later step "
                    f"of the pipeline fails on it: {error}"
                )
        number = len(self.found) + 1
        if number > self.max_bad_records:
            self._stop(
                f"bad record {name!r}: {problem}. It is bad record number "
                f"{number}; expected at most "
                f"max_bad_records={self.max_bad_records}. Repair or remove "
                "it, or raise max_bad_records to skip that many."
            )
        self.found[name] = problem
        logging.getLogger(__name__).warning(
            "Skipped bad record %r: %s", name, problem
        )

    def _stop(self, error: str) -> NoReturn:
        self.error = error
        raise ValueError(error)
