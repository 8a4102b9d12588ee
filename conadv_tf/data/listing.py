"""Lists the images in folders, and counts the files that are skipped."""

import collections
import logging

import tensorflow as tf

from conadv_tf.data.decoding import readable_suffixes

# Files that file browsers create.
_IGNORED_NAMES = ("thumbs.db", "desktop.ini")
_MAX_LISTED = 3


def join(path: str, name: str) -> str:
    """Returns PATH/name; os.path.join is wrong for buckets on some systems."""
    return f"{path.rstrip('/')}/{name}"


def names(path: str) -> list[str]:
    """Returns the sorted names in a folder or bucket, except hidden files.

    Raises:
      ValueError: if there is no such folder; or the path, or a name in it, is
        not UTF-8, which TensorFlow requires.
    """
    try:
        found = tf.io.gfile.listdir(path)
    except tf.errors.NotFoundError:
        raise ValueError(
            f"Expected a folder of images at {path!r}; there is no folder. "
            "Make PATH/train/CLASS/*.jpg and PATH/test/CLASS/*.jpg, or "
            "PATH/CLASS/*.jpg with a holdout fraction (run.py: --set "
            "holdout=0.1)."
        ) from None
    except UnicodeEncodeError:
        raise ValueError(
            f"Expected a path in UTF-8; received {path!r}. Rename the folder."
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"Expected names in UTF-8 in the folder {path!r}; found "
            f"{error.object!r}. Rename it, for example with convmv."
        ) from None
    # In a bucket the names of folders end with a slash.
    found = sorted(name.rstrip("/") for name in found)
    return [name for name in found if not name.startswith(".")]


def folders(path: str) -> list[str]:
    """Returns the sorted names of the folders in a folder."""
    return [name for name in names(path) if tf.io.gfile.isdir(join(path, name))]


def is_image(name: str) -> bool:
    """Returns whether a file is read as an image, by its suffix."""
    return name.lower().endswith(readable_suffixes())


class SkippedFiles:
    """Counts the files that a listing skips, to log them once."""

    def __init__(self) -> None:
        self._other_suffixes: collections.Counter[str] = collections.Counter()
        self._nested: collections.Counter[str] = collections.Counter()
        self._outside_classes = 0

    def images_in(self, folder: str) -> list[str]:
        """Returns the sorted image paths of a class folder; counts the rest.

        A folder with the name of an image counts as an image. Checking each
        file would take too long in buckets and large datasets.
        """
        found = []
        for name in names(folder):
            path = join(folder, name)
            if is_image(name):
                found.append(path)
            elif tf.io.gfile.isdir(path):
                self._nested[path] += sum(map(is_image, names(path)))
            elif name.lower() not in _IGNORED_NAMES:
                _, dot, suffix = name.lower().rpartition(".")
                self._other_suffixes[dot + suffix if dot else "no suffix"] += 1
        return found

    def count_outside_classes(self, path: str) -> None:
        """Counts the images that lie beside the class folders of PATH."""
        self._outside_classes += sum(
            is_image(name) and not tf.io.gfile.isdir(join(path, name))
            for name in names(path)
        )

    def warn(self, path: str) -> None:
        """Logs the files of PATH that were skipped, if any."""
        if str(self):
            logging.getLogger(__name__).warning(
                "Skipped in %r: %s. Images are read from "
                "PATH/CLASS/*, from files that end in %s.",
                path,
                self,
                ", ".join(readable_suffixes()),
            )

    def __str__(self) -> str:
        counts = []
        if self._other_suffixes:
            kinds = ", ".join(
                f"{number} {suffix}"
                for suffix, number in self._other_suffixes.most_common()
            )
            total = self._other_suffixes.total()
            counts.append(f"{total} files with other suffixes ({kinds})")
        nested = +self._nested
        if nested:
            where = ", ".join(map(repr, sorted(nested)[:_MAX_LISTED]))
            more = ", ..." if len(nested) > _MAX_LISTED else ""
            total = nested.total()
            counts.append(f"{total} images one folder deeper ({where}{more})")
        if self._outside_classes:
            counts.append(
                f"{self._outside_classes} images beside the class folders"
            )
        return ", ".join(counts)
