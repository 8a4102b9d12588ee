"""Finds missing and damaged files of prepared tensorflow-datasets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

_MAX_LISTED = 3


def check_described(builder: tfds.core.DatasetBuilder) -> None:
    """Raises a ValueError if the description of a prepared dataset is gone."""
    if not list(builder.info.splits):
        raise _error(str(builder.data_dir), "dataset_info.json is missing")


def check_complete(
    builder: tfds.core.DatasetBuilder, splits: Iterable[str]
) -> None:
    """Raises a ValueError if files are missing; lists the folder once.

    Args:
      builder: builder of a prepared dataset.
      splits: names of the splits to check.
    """
    folder = str(builder.data_dir)
    present = set(tf.io.gfile.listdir(folder))
    missing = [
        path.name
        for split in splits
        for path in builder.info.splits[split].filepaths
        if path.name not in present
    ]
    if missing:
        names = ", ".join(missing[:_MAX_LISTED])
        raise _error(folder, f"{len(missing)} files are missing ({names})")


def check_records(
    builder: tfds.core.DatasetBuilder, splits: Iterable[str]
) -> None:
    """Raises a ValueError that names a damaged file; reads every record.

    Args:
      builder: builder of a prepared dataset.
      splits: names of the splits to check.
    """
    folder = str(builder.data_dir)
    if builder.info.file_format.file_suffix != "tfrecord":
        return
    for split in splits:
        info = builder.info.splits[split]
        for path, length in zip(info.filepaths, info.shard_lengths):
            number = 0
            try:
                for _ in tf.data.TFRecordDataset(str(path)):
                    number += 1
            except tf.errors.OpError as error:
                reason = error.message.splitlines()[0].partition("}} ")[2]
                raise _error(
                    folder,
                    f"the file {str(path)!r} is damaged after {number} of "
                    f"{length} records ({reason.partition(' [Op:')[0]})",
                ) from error
            if number != length:
                raise _error(
                    folder,
                    f"the file {str(path)!r} has {number} records instead of "
                    f"{length}",
                )


def _error(folder: str, problem: str) -> ValueError:
    return ValueError(
        f"Expected complete files of the prepared dataset in {folder!r}; "
        f"{problem}. Copy the folder again; or remove it, and the next start "
        "prepares the dataset or says how."
    )
