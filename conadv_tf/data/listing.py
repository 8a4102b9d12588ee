"""What is in folders of images: what is read, and what is left out."""

import collections
import logging

import tensorflow as tf

from conadv_tf.data.decoding import readable_suffixes

# Made by file browsers.
_NOT_MEANT = ("thumbs.db", "desktop.ini")
_NAMED = 3


def join(path: str, name: str) -> str:
    """PATH/name; os.path.join would be wrong for buckets on some systems."""
    return f"{path.rstrip('/')}/{name}"


def names(path: str) -> list[str]:
    """Sorted names of what is in a folder or bucket, hidden files left out.

    Raises:
      ValueError: if the path, or a name in it, is not UTF-8, which TensorFlow
        takes no other than.
    """
    try:
        found = tf.io.gfile.listdir(path)
    except UnicodeEncodeError:
        raise ValueError(
            f"Expected a path in UTF-8; received {path!r}. Rename the folder."
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected names in UTF-8 in the folder {path!r}; found "
            f"{error.object!r}. Rename it, for example with convmv."
        ) from None
    # Buckets end the names of folders so.
    found = sorted(name.rstrip("/") for name in found)
    return [name for name in found if not name.startswith(".")]


def folders(path: str) -> list[str]:
    """Sorted names of the folders in a folder."""
    return [name for name in names(path) if tf.io.gfile.isdir(join(path, name))]


class SkippedFiles:
    """Counts what a listing leaves out, to say it once."""

    def __init__(self) -> None:
        self._others: collections.Counter[str] = collections.Counter()
        self._deeper: collections.Counter[str] = collections.Counter()
        self._beside = 0

    def images_in(self, folder: str) -> list[str]:
        """Sorted paths of the images in a class folder; the rest is counted.

        A folder with the name of an image is taken for one: buckets and large
        sets are not asked about each file.
        """
        found = []
        for name in names(folder):
            path = join(folder, name)
            if is_image(name):
                found.append(path)
            elif tf.io.gfile.isdir(path):
                self._deeper[path] += sum(map(is_image, names(path)))
            elif name.lower() not in _NOT_MEANT:
                _, dot, suffix = name.lower().rpartition(".")
                self._others[dot + suffix if dot else "no suffix"] += 1
        return found

    def beside(self, path: str) -> None:
        """Counts images that are beside the class folders."""
        self._beside += sum(
            is_image(name) and not tf.io.gfile.isdir(join(path, name))
            for name in names(path)
        )

    def warn(self, path: str) -> None:
        """Logs what was left out of PATH, if anything was."""
        if str(self):
            logging.getLogger(__name__).warning(
                "Left out of %r: %s. Images are read from "
                "PATH/CLASS/*, from files that end in %s.",
                path,
                self,
                ", ".join(readable_suffixes()),
            )

    def __str__(self) -> str:
        said = []
        if self._others:
            kinds = ", ".join(
                f"{number} {suffix}"
                for suffix, number in self._others.most_common()
            )
            said.append(
                f"{self._others.total()} files by their names ({kinds})"
            )
        deeper = +self._deeper
        if deeper:
            where = ", ".join(map(repr, sorted(deeper)[:_NAMED]))
            more = ", ..." if len(deeper) > _NAMED else ""
            count = sum(deeper.values())
            said.append(f"{count} images a folder deeper ({where}{more})")
        if self._beside:
            said.append(f"{self._beside} images beside the class folders")
        return ", ".join(said)


def is_image(name: str) -> bool:
    """Whether a file is read, by the end of its name."""
    return name.lower().endswith(readable_suffixes())
