"""Paths of files and folders on a disk or in TensorFlow's file systems.

These file systems include buckets (`gs://`) and process memory (`ram://`).
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
_INCOMPLETE_SCHEME = re.compile(r"(gs|s3|hdfs|ram):/?(?!/)")
_OS_ERRORS = {
    tf.errors.NotFoundError: FileNotFoundError,
    tf.errors.AlreadyExistsError: FileExistsError,
    tf.errors.PermissionDeniedError: PermissionError,
}


class RemotePath(os.PathLike):
    """An address, with the methods of `pathlib.Path` that this project uses.

    Methods raise the same OSErrors as `pathlib.Path`.

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
        """The part after the last slash."""
        return posixpath.basename(self._rest)

    @property
    def suffix(self) -> str:
        """The end of the name, from its last dot; or ""."""
        return pathlib.PurePosixPath(self._rest).suffix

    @property
    def parent(self) -> RemotePath:
        """The folder that contains it."""
        return RemotePath(f"{self._scheme}://{posixpath.dirname(self._rest)}")

    def with_name(self, name: str) -> RemotePath:
        """Returns the path of another name in the same folder."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> RemotePath:
        """Returns the same path with another suffix."""
        return self.with_name(self.name[: -len(self.suffix) or None] + suffix)

    def resolve(self) -> RemotePath:
        """Returns the path itself, because an address is always absolute."""
        return self

    def exists(self) -> bool:
        """Returns whether it is an existing file or folder."""
        with _os_errors():
            return bool(tf.io.gfile.exists(str(self)))

    def is_dir(self) -> bool:
        """Returns whether it is a folder."""
        with _os_errors():
            return bool(tf.io.gfile.isdir(str(self)))

    def is_file(self) -> bool:
        """Returns whether it is a file."""
        return self.exists() and not self.is_dir()

    def iterdir(self) -> Iterator[RemotePath]:
        """Returns the paths of the files and folders in the folder."""
        with _os_errors():
            names = tf.io.gfile.listdir(str(self))
        # In a bucket the names of folders end with a slash.
        names = sorted(name.rstrip("/") for name in names)
        return (self / name for name in names if name)

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """Returns the paths in the folder that match a pattern."""
        with _os_errors():
            found = tf.io.gfile.glob(f"{self}/{pattern}")
        return map(RemotePath, sorted(found))

    def mkdir(self, parents: bool = True, exist_ok: bool = False) -> None:
        """Creates the folder and its parents."""
        del parents
        if not exist_ok and self.exists():
            raise FileExistsError(f"{self} exists")
        with _os_errors():
            tf.io.gfile.makedirs(str(self))

    def open(self, mode: str = "r", encoding: str = "utf-8") -> Any:
        """Opens the file; text is UTF-8."""
        del encoding
        with _os_errors():
            return tf.io.gfile.GFile(str(self), mode)

    def read_bytes(self) -> bytes:
        """Returns the contents of the file."""
        with _os_errors(), tf.io.gfile.GFile(str(self), "rb") as file:
            return bytes(file.read())

    def read_text(self, encoding: str = "utf-8") -> str:
        """Returns the contents of a text file."""
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
        # In a bucket it may have vanished with its last file.
        if self.exists():
            if any(self.iterdir()):
                raise OSError(f"{self} is not empty")
            with _os_errors():
                tf.io.gfile.rmtree(str(self))

    def rename(self, target: Union[str, os.PathLike]) -> RemotePath:
        """Renames a file or a folder; the files of a folder one by one."""
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
    """Returns a path object.

    Args:
      name: path of a file or folder on a disk, or an address that contains
        "://". A leading ~ is the home folder, which a shell does not replace
        in "--model_dir=~/runs".

    Raises:
      ValueError: if it is an incomplete address, for example "gs:/bucket".

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
    if _INCOMPLETE_SCHEME.match(text):
        raise ValueError(
            "Expected two slashes after the scheme of an address, for example "
            f"gs://bucket/folder; received {text!r}."
        )
    if isinstance(name, pathlib.Path):
        return name
    return pathlib.Path(os.path.expanduser(text))


@contextlib.contextmanager
def atomic_write(name: Union[str, os.PathLike]) -> Iterator[pathlib.Path]:
    """Writes a file completely or not at all.

    The body of the `with` statement writes a temporary file in the same folder,
    which replaces the file at the end. If the file is not on a disk, the
    temporary file is, so that any library can write it; at the end it is copied
    to a temporary name and renamed. A bucket renames by another copy, which
    becomes visible at once. Other file systems might show an incomplete file.

    Args:
      name: path of the file.

    Yields:
      pathlib.Path of the file to write; its name ends with the file's name.

    Raises:
      OSError: if it could not be written.
    """
    path = as_path(name)
    # Keras chooses the format by the end of the name, such as ".weights.h5".
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
    """Provides a file on a disk, for libraries that can read no other.

    Args:
      path: path of the file.

    Yields:
      The path of the file, or of a temporary copy.
    """
    if isinstance(path, pathlib.Path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        local = pathlib.Path(folder) / path.name
        copy(path, local)
        yield local


def copy(source: Path, target: Path) -> None:
    """Copies a file; overwrites an existing target."""
    if isinstance(source, pathlib.Path) and isinstance(target, pathlib.Path):
        shutil.copyfile(source, target)
        return
    with _os_errors():
        tf.io.gfile.copy(str(source), str(target), overwrite=True)


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Converts TensorFlow's errors to OSErrors."""
    try:
        yield
    except tf.errors.OpError as error:
        kind = _OS_ERRORS.get(type(error), OSError)
        raise kind(error.message) from error
