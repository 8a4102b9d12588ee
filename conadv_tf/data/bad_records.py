"""Bad records: found, named, counted, and skipped only where asked."""

from collections.abc import Callable
from collections.abc import Sequence
import logging
import threading
from typing import NoReturn
from typing import Optional

import tensorflow as tf


class BadRecords:
    """What was wrong with which record of a dataset.

    found: dict from the name of a bad record that was skipped (a file, or the
      id that tensorflow-datasets gives a record) to its fault, in words.
    max_bad_records: how many of them are skipped before that is an error.
    error: message of the error that stopped the pipeline; None if none did.
    """

    def __init__(self, num_classes: int, max_bad_records: int = 0) -> None:
        """See `datasets.load` for the arguments."""
        if max_bad_records < 0:
            raise ValueError(
                f"Expected max_bad_records >= 0; received {max_bad_records}."
            )
        self.found: dict[str, str] = {}
        self.error: Optional[str] = None
        self._num_classes = num_classes
        self.max_bad_records = max_bad_records
        self._lock = threading.Lock()

    def good_label(self, label: tf.Tensor) -> tf.Tensor:
        """Whether a label tensor names a class; bool tensor."""
        return tf.logical_and(label >= 0, label < self._num_classes)

    def report(
        self,
        look: Callable[..., Optional[str]],
        label: tf.Tensor,
        name: tf.Tensor,
        *inputs: tf.Tensor,
    ) -> tf.Tensor:
        """Says on the host what is wrong with a record that failed.

        Args:
          look: function of `inputs`, eager, to what is wrong with them, in
            words, or None. Its errors are not taken for the record's.
          label: int scalar.
          name: string scalar.
          *inputs: tensors.

        Returns:
          False. If it is a bad record too many, or `look` fails, a
          `tf.errors.InvalidArgumentError` when this runs, whose message ends
          with `error`.
        """

        def tell(label: tf.Tensor, name: tf.Tensor, *inputs: tf.Tensor) -> bool:
            text = name.numpy().decode(errors="backslashreplace")
            with self._lock:
                if text not in self.found:  # Each epoch meets it again.
                    fault = self._fault(look, int(label), text, inputs)
                    self._count(text, fault)
            return False

        told = tf.py_function(tell, [label, name, *inputs], tf.bool)
        return tf.ensure_shape(told, ())

    def _fault(
        self,
        look: Callable[..., Optional[str]],
        label: int,
        name: str,
        inputs: Sequence[tf.Tensor],
    ) -> str:
        if not 0 <= label < self._num_classes:
            return f"label {label} outside 0 to {self._num_classes - 1}"
        try:
            fault = look(*inputs)
        except Exception as error:
            self._stop(
                f"The image of record {name!r} is fine, but what is made of it "
                f"fails: {error}"
            )
        return fault or "failed once and not again"

    def _count(self, name: str, fault: str) -> None:
        number = len(self.found) + 1
        if number > self.max_bad_records:
            self._stop(
                f"bad record {name!r}: {fault}. It is bad record number "
                f"{number}; expected at most "
                f"max_bad_records={self.max_bad_records}. Repair or remove "
                "it, or raise max_bad_records to skip that many."
            )
        self.found[name] = fault
        logging.getLogger(__name__).warning(
            "Skipped bad record %r: %s", name, fault
        )

    def _stop(self, error: str) -> NoReturn:
        self.error = error
        raise ValueError(error)
