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
    """Returns a reader of a table with a header, with column and line info.

    It also reads the files of spreadsheets, which may begin with a byte order
    mark and separate columns with semicolons.

    Raises:
      ValueError: if the file is not text in UTF-8.
    """
    try:
        text = paths.as_path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected a table in UTF-8 in {path}; received another file "
            f"({error})."
        ) from error
    header = text.partition("\n")[0]
    delimiter = ";" if ";" in header and "," not in header else ","
    return csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)


def read(path: Union[str, os.PathLike]) -> list[dict[str, str]]:
    """Returns the rows of a table with a header, as dicts of strings."""
    return list(reader(path))


def read_numbers(
    path: Union[str, os.PathLike], required: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Returns the rows of a table of floats; an empty value is None.

    Args:
      path: file to read, in a folder or a bucket.
      required: columns that have a value in each row.

    Raises:
      ValueError: if a required value is missing, or a value is no number.
    """
    table = reader(path)
    rows = []
    for texts in table:
        row = {}
        for column in dict.fromkeys([*required, *texts]):
            text: Any = texts.get(column)
            is_given = bool(text) or column in required
            try:
                row[column] = float(text) if is_given else None
            except (TypeError, ValueError):  # Surplus values are a list.
                raise ValueError(
                    f"Expected a number in {path}, line {table.line_num}, "
                    f"column {column}; received {text!r} (columns: "
                    f"{', '.join(table.fieldnames or ())}). Correct the "
                    "file, or remove it to continue without its rows."
                ) from None
        rows.append(row)
    return rows
