"""Tables as CSV files."""

from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
import csv
import os
from typing import Any
from typing import Optional
from typing import Union


def write(
    path: Union[str, os.PathLike],
    rows: Iterable[Mapping[str, Any]],
    columns: Optional[Sequence[str]] = None,
) -> None:
    """Writes a table whole or not at all.

    Args:
      path: file to write; replaced if it exists.
      rows: iterable of dicts, {column: value}.
      columns: names in order; by default those of the first row.
    """
    rows = list(rows)
    temporary = f"{path}.tmp"
    with open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(
            file, list(columns or rows[0]), lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, path)


def read(path: Union[str, os.PathLike]) -> list[dict[str, str]]:
    """The rows of a table with a header: list of dicts of strings."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
