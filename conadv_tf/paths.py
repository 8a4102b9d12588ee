"""Files and folders by name, on a disk or wherever TensorFlow reaches.

Buckets (`gs://`) and the memory of a process (`ram://`) are such places.
"""

from __future__ import annotations

from collections.abc import Iterator
import contextlib
import os
import pathlib
import posixpath
import re
import shutil
import tempfile
from typing import Any
from typing import Union

import tensorflow as tf

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HALF_A_SCHEME = re.compile(r"(gs|s3|hdfs|ram):/?(?!/)")


class RemotePath(os.PathLike):
    """An address, with those methods of `pathlib.Path` that are needed here.

    Errors are OSErrors, as those of files are.

    Args:
      address: "scheme://bucket/folder/name".
    """

    def __init__(self, address: str) -> None:
        self._scheme, _, rest = address.partition("://")
        self._rest = rest.rstrip("/")

    def __fspath__(self) -> str:
        return f"{self._scheme}://{self._rest}"

    __str__ = __fspath__

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __lt__(self, other: RemotePath) -> bool:
        return str(self) < str(other)

    def __truediv__(self, name: Union[str, os.PathLike]) -> RemotePath:
        return RemotePath(f"{self}/{os.fspath(name)}")

    @property
    def name(self) -> str:
        """What is after the last slash."""
        return posixpath.basename(self._rest)

    @property
    def suffix(self) -> str:
        """The end of the name from its last dot on, or ""."""
        return pathlib.PurePosixPath(self._rest).suffix

    @property
    def parent(self) -> RemotePath:
        """The folder that it is in."""
        return RemotePath(f"{self._scheme}://{posixpath.dirname(self._rest)}")

    def with_name(self, name: str) -> RemotePath:
        """Another in the same folder."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> RemotePath:
        """The same with another suffix."""
        return self.with_name(self.name[: -len(self.suffix) or None] + suffix)

    def resolve(self) -> RemotePath:
        """Itself: an address depends on no current folder."""
        return self

    def exists(self) -> bool:
        """Whether there is such a file or folder."""
        with _os_errors():
            return bool(tf.io.gfile.exists(str(self)))

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        with _os_errors():
            return bool(tf.io.gfile.isdir(str(self)))

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self.exists() and not self.is_dir()

    def iterdir(self) -> Iterator[RemotePath]:
        """What is in the folder."""
        with _os_errors():
            names = tf.io.gfile.listdir(str(self))
        # Buckets end the names of folders with a slash.
        names = sorted(name.rstrip("/") for name in names)
        return (self / name for name in names if name)

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """What in the folder fits a pattern."""
        with _os_errors():
            found = tf.io.gfile.glob(f"{self}/{pattern}")
        return map(RemotePath, sorted(found))

    def mkdir(self, parents: bool = True, exist_ok: bool = False) -> None:
        """Makes the folder, and those above it."""
        del parents
        if not exist_ok and self.exists():
            raise FileExistsError(f"{self} exists")
        with _os_errors():
            tf.io.gfile.makedirs(str(self))

    def open(self, mode: str = "r", encoding: str = "utf-8") -> Any:
        """The open file; text is UTF-8."""
        del encoding
        with _os_errors():
            return tf.io.gfile.GFile(str(self), mode)

    def read_bytes(self) -> bytes:
        """What the file holds."""
        with _os_errors(), tf.io.gfile.GFile(str(self), "rb") as file:
            return bytes(file.read())

    def read_text(self, encoding: str = "utf-8") -> str:
        """The text that the file holds."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> None:
        """Writes the file."""
        with _os_errors(), tf.io.gfile.GFile(str(self), "wb") as file:
            file.write(content)

    def write_text(self, text: str, encoding: str = "utf-8") -> None:
        """Writes a text file."""
        self.write_bytes(text.encode(encoding))

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes the file."""
        try:
            with _os_errors():
                tf.io.gfile.remove(str(self))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmdir(self) -> None:
        """Removes the folder, which must be empty."""
        # A bucket may have forgotten it with the last file in it.
        if self.exists():
            if any(self.iterdir()):
                raise OSError(f"{self} is not empty")
            with _os_errors():
                tf.io.gfile.rmtree(str(self))

    def rename(self, target: Union[str, os.PathLike]) -> RemotePath:
        """Gives a file or a folder another name; one file after another."""
        target = RemotePath(os.fspath(target))
        if self.is_dir():
            target.mkdir(exist_ok=True)
            for each in list(self.iterdir()):
                each.rename(target / each.name)
            self.rmdir()
        else:
            with _os_errors():
                tf.io.gfile.rename(str(self), str(target))
        return target


Path = Union[pathlib.Path, RemotePath]


def as_path(name: Union[str, os.PathLike]) -> Path:
    """The path of a name.

    Args:
      name: of a file or folder on a disk, or an address with "://" in it.

    Raises:
      ValueError: if it is half an address, as "gs:/bucket".

    Example:
      >>> from conadv_tf import paths
      >>> str(paths.as_path("gs://bucket/runs/") / "mine")
      'gs://bucket/runs/mine'
      >>> str(paths.as_path("runs/") / "mine")
      'runs/mine'
    """
    text = os.fspath(name)
    if _SCHEME.match(text):
        return RemotePath(text)
    if _HALF_A_SCHEME.match(text):
        raise ValueError(
            f"Expected two slashes after the scheme of an address, as in "
            f"gs://bucket/folder; received {text!r}."
        )
    return pathlib.Path(name)


@contextlib.contextmanager
def atomic_write(name: Union[str, os.PathLike]) -> Iterator[pathlib.Path]:
    """Lets a file be written whole or not at all.

    What is inside writes a file beside it, which takes its place at the end.
    Elsewhere than on a disk that file is on a disk, so that any library can
    write it, and is copied at the end under a name of its own, then renamed.
    A bucket renames by another copy, which appears at once; a place that does
    not may show a part of a file.

    Args:
      name: the file.

    Yields:
      pathlib.Path of the file to write; its name ends as that of the file.

    Raises:
      OSError: if it could not be written.
    """
    path = as_path(name)
    # Keras knows a format by the end of the name, ".weights.h5" too.
    temporary = path.with_name(f".partial.{path.name}")
    if isinstance(temporary, pathlib.Path):
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        local = pathlib.Path(folder) / path.name
        yield local
        try:
            copy(local, temporary)
            with _os_errors():
                tf.io.gfile.rename(str(temporary), str(path), overwrite=True)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def local_copy(path: Path) -> Iterator[pathlib.Path]:
    """A file for libraries that read from disks only.

    Args:
      path: of the file.

    Yields:
      Its path, or that of a copy, which is removed in the end.
    """
    if isinstance(path, pathlib.Path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        local = pathlib.Path(folder) / path.name
        copy(path, local)
        yield local


def copy(source: Path, target: Path) -> None:
    """Copies a file; one that is there is written over."""
    if isinstance(source, pathlib.Path) and isinstance(target, pathlib.Path):
        shutil.copyfile(source, target)
        return
    with _os_errors():
        tf.io.gfile.copy(str(source), str(target), overwrite=True)


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Turns TensorFlow's errors into those of files."""
    try:
        yield
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(error.message) from error
    except tf.errors.AlreadyExistsError as error:
        raise FileExistsError(error.message) from error
    except tf.errors.PermissionDeniedError as error:
        raise PermissionError(error.message) from error
    except tf.errors.OpError as error:
        raise OSError(error.message) from error
