"""Reads and writes tables as CSV files."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import csv
import io
import os
from typing import Any
from typing import Optional
from typing import Union

from conadv_tf import paths


def write(
    path: Union[str, os.PathLike],
    rows: Iterable[Mapping[str, Any]],
    columns: Optional[Sequence[str]] = None,
) -> None:
    """Writes a table atomically.

    Args:
      path: file to write, in a folder or a bucket; replaced if it exists.
      rows: iterable of dicts, {column: value}.
      columns: names of the columns, in order; None takes them from the first
        row.
    """
    rows = list(rows)
    with paths.atomic_write(path) as temporary:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(
                file, list(columns or rows[0]), lineterminator="\n"
            )
            writer.writeheader()
            writer.writerows(rows)


def reader(path: Union[str, os.PathLike]) -> "csv.DictReader[str]":
    """Returns a reader of a table with a header, with column and line info."""
    text = paths.as_path(path).read_bytes().decode("utf-8")
    return csv.DictReader(io.StringIO(text, newline=""))


def read(path: Union[str, os.PathLike]) -> list[dict[str, str]]:
    """Returns the rows of a table with a header, as dicts of strings."""
    return list(reader(path))
