"""Bad records: found, named, counted, and skipped only where asked."""

import logging
import threading
from typing import Any
from typing import Optional

import tensorflow as tf

JPEG_START = b"\xff\xd8\xff"
JPEG_END = b"\xff\xd9"
PNG_START = b"\x89PNG\r\n\x1a\n"


class FaultLog:
    """What was wrong with which record of a dataset.

    found: dict from the name of a bad record (a file, or the id that
      tensorflow-datasets gives a record) to its fault, in words.
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

    def drop_bad(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
        """Drops what is not good and reports it.

        The host is asked only about bad records: a good one costs no Python.

        Args:
          dataset: elements (good, record, payload): a bool, (contents or b"",
            label, name) and any structure.

        Returns:
          Dataset of the payloads of good records. Iterating raises
          `tf.errors.InvalidArgumentError`, whose message ends with `error`,
          at the first bad record too many.
        """

        def keep(
            good: tf.Tensor, record: tuple[tf.Tensor, ...], payload: Any
        ) -> tf.Tensor:
            del payload
            return tf.cond(
                good,
                lambda: True,
                lambda: tf.ensure_shape(
                    tf.py_function(self._report, record, tf.bool), ()
                ),
            )

        return dataset.filter(keep).map(lambda good, record, payload: payload)

    def _report(
        self, contents: tf.Tensor, label: tf.Tensor, name: tf.Tensor
    ) -> bool:
        name = name.numpy().decode(errors="replace")
        with self._lock:
            if name not in self.found:  # Each epoch meets it again.
                self.found[name] = diagnose(
                    contents.numpy(), int(label), self._num_classes
                )
                self._count(name)
        return False

    def _count(self, name: str) -> None:
        number = len(self.found)
        fault = f"bad record {name!r}: {self.found[name]}"
        if number <= self.max_bad_records:
            logging.getLogger(__name__).warning("Skipped %s", fault)
            return
        self.error = (
            f"{fault}. It is bad record number {number}; expected at most "
            f"max_bad_records={self.max_bad_records}. Repair or remove it, "
            "or raise max_bad_records to skip that many."
        )
        raise ValueError(self.error)


def diagnose(contents: bytes, label: int, num_classes: int) -> str:
    """Says what is wrong with a record.

    Args:
      contents: bytes of the encoded image; b"" if it was not encoded.
      label: int.
      num_classes: labels are 0 to num_classes - 1.

    Returns:
      A phrase, for example "truncated JPEG".
    """
    if not 0 <= label < num_classes:
        return f"label {label} outside 0 to {num_classes - 1}"
    if not contents:
        return "empty file"
    is_jpeg = contents.startswith(JPEG_START)
    if not is_jpeg and not contents.startswith(PNG_START):
        return f"neither JPEG nor PNG, its first bytes are {contents[:8]!r}"
    kind = "JPEG" if is_jpeg else "PNG"
    try:
        if is_jpeg and int(tf.io.extract_jpeg_shape(contents)[2]) == 4:
            return "CMYK JPEG, whose colours decoders disagree about"
        tf.io.decode_jpeg(contents, channels=3)  # Reads PNG, too.
    except tf.errors.InvalidArgumentError as error:
        if is_jpeg and not contents.rstrip(b"\0").endswith(JPEG_END):
            return "truncated JPEG: it has no end-of-image marker"
        return f"damaged or truncated {kind} ({error.message.splitlines()[0]})"
    return f"{kind} that decodes alone but did not in the pipeline"
