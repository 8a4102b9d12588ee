"""Tables are written atomically and read as they were written."""

import pytest

from conadv_tf import csv_file

ROWS = [{"name": "a, b", "value": 1.5}, {"name": "ä\n", "value": None}]


@pytest.mark.parametrize("columns", [None, ("value", "name")])
def test_reading_gives_the_written_rows(tmp_path, columns):
    path = tmp_path / "table.csv"
    csv_file.write(path, iter(ROWS), columns)
    read = csv_file.read(path)
    assert [row["name"] for row in read] == ["a, b", "ä\n"]
    assert [row["value"] for row in read] == ["1.5", ""]
    assert [*read[0]] == [*(columns or ROWS[0])]
    assert [each.name for each in tmp_path.iterdir()] == ["table.csv"]


def test_a_table_without_rows_has_its_header(tmp_path):
    csv_file.write(tmp_path / "table.csv", [], ("a", "b"))
    assert (tmp_path / "table.csv").read_text() == "a,b\n"
    assert csv_file.read(tmp_path / "table.csv") == []


def test_a_failed_write_keeps_the_previous_table(tmp_path):
    path = tmp_path / "table.csv"
    csv_file.write(path, ROWS)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="fields"):
        csv_file.write(path, [*ROWS, {"name": "c", "unknown": 1}])
    assert path.read_bytes() == before
