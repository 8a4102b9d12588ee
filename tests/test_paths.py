"""Paths and tables of all file systems behave as on a disk."""

import pathlib
import uuid

import pytest

from conadv_tf import csv_file
from conadv_tf import paths


@pytest.fixture(params=["disk", "ram", "file"])
def folder(request, tmp_path):
    """A folder that does not exist yet."""
    name = f"folder_{uuid.uuid4().hex}"
    return {
        "disk": tmp_path / name,
        "ram": paths.as_path(f"ram://{name}"),
        "file": paths.as_path(f"file://{tmp_path}/{name}/"),
    }[request.param]


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def test_files_and_folders(folder):
    assert not folder.exists() and not folder.is_dir()
    with pytest.raises(FileNotFoundError):
        names(folder)
    below = folder / "a" / "b"
    below.mkdir(parents=True, exist_ok=True)
    below.mkdir(parents=True, exist_ok=True)
    with pytest.raises(FileExistsError):
        below.mkdir(parents=True)
    assert below.is_dir() and not below.is_file()
    path = below / "naïve.txt"
    with pytest.raises(FileNotFoundError):
        path.read_text(encoding="utf-8")
    path.write_text("grün\r\n", encoding="utf-8")
    assert path.read_bytes() == "grün\r\n".encode()
    with path.open("a", encoding="utf-8") as file:
        file.write("more")
    assert path.is_file() and not path.is_dir()
    assert path.read_text(encoding="utf-8").endswith("\nmore")
    assert (path.name, path.suffix, path.parent) == (
        "naïve.txt",
        ".txt",
        below,
    )
    assert path.with_suffix(".csv") == path.with_name("naïve.csv")
    assert path.resolve() == path
    assert list(folder.glob("*/b")) == [below]
    # Renaming a folder moves all its contents.
    (below / "c").mkdir()
    (below / "c" / "deep").write_text("1")
    (folder / "a").rename(folder / "z")
    assert names(folder) == ["z"]
    assert names(folder / "z" / "b") == ["c", "naïve.txt"]
    assert (folder / "z" / "b" / "c" / "deep").read_text() == "1"
    with pytest.raises(OSError):
        (folder / "z").rmdir()
    for _ in range(2):
        (folder / "z" / "b" / "naïve.txt").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        (folder / "z" / "b" / "naïve.txt").unlink()
    (folder / "z" / "b" / "c" / "deep").unlink()
    (folder / "z" / "b" / "c").rmdir()
    assert names(folder / "z" / "b") == []


def test_files_are_written_atomically(folder):
    folder.mkdir()
    path = folder / "my.weights.h5"
    for content in (b"old", b"new"):
        with paths.atomic_write(path) as temporary:
            assert isinstance(temporary, pathlib.Path)
            assert temporary.name.endswith("my.weights.h5")
            temporary.write_bytes(content)
            assert not path.exists() or path.read_bytes() == b"old"
        assert path.read_bytes() == content
    with pytest.raises(OSError, match="no space"):
        with paths.atomic_write(path) as temporary:
            temporary.write_bytes(b"half")
            raise OSError("no space left")
    assert names(folder) == ["my.weights.h5"] and path.read_bytes() == b"new"
    with paths.local_copy(path) as local:
        assert local.read_bytes() == b"new" and local.name == path.name
    paths.copy(path, folder / "copy")
    assert (folder / "copy").read_bytes() == b"new"


ROWS = [{"name": "a, b", "value": 1.5}, {"name": "ä\r\n", "value": None}]


@pytest.mark.parametrize("columns", [None, ("value", "name")])
def test_reading_a_table_gives_the_written_rows(folder, columns):
    folder.mkdir()
    csv_file.write(folder / "table.csv", iter(ROWS), columns)
    read = csv_file.read(str(folder / "table.csv"))
    assert [row["name"] for row in read] == ["a, b", "ä\r\n"]
    assert [row["value"] for row in read] == ["1.5", ""]
    assert [*read[0]] == [*(columns or ROWS[0])]
    assert names(folder) == ["table.csv"]


def test_a_failed_write_keeps_the_previous_table(folder):
    folder.mkdir()
    path = folder / "table.csv"
    csv_file.write(path, [], ("a", "b"))
    assert path.read_bytes() == b"a,b\n" and csv_file.read(path) == []
    with pytest.raises(ValueError, match="fields"):
        csv_file.write(path, [*ROWS, {"name": "c", "unknown": 1}])
    assert path.read_bytes() == b"a,b\n"


def test_an_unknown_file_system():
    path = paths.as_path("nowhere://bucket/folder")
    for action in (path.mkdir, path.exists, lambda: path.write_text("1")):
        with pytest.raises(OSError, match="nowhere"):
            action()
    with pytest.raises(OSError, match="nowhere"):
        with paths.atomic_write(path) as temporary:
            temporary.write_text("1")


@pytest.mark.parametrize("name", ["gs:/bucket/run", "gs:bucket"])
def test_an_incomplete_address(name):
    with pytest.raises(ValueError, match=f"two slashes.*{name}"):
        paths.as_path(name)


def test_addresses():
    path = paths.as_path("gs://bucket/folder//")
    assert str(path) == "gs://bucket/folder" == f"{path / '.'}"[:-2]
    assert paths.as_path(path) == path and {path: 1}[paths.as_path(str(path))]
    assert path.parent / "x" == paths.as_path("gs://bucket/x")
    assert isinstance(paths.as_path("C:/folder"), pathlib.Path)
    assert isinstance(paths.as_path("a://b".replace("//", "")), pathlib.Path)
