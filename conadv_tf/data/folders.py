"""A dataset of image files, with one folder for each class."""

from collections.abc import Iterable
import functools
import hashlib
import os
from typing import Optional
import unicodedata

import numpy as np
import tensorflow as tf

from conadv_tf.data import listing
from conadv_tf.data.decoding import readable_suffixes
from conadv_tf.data.decoding import warn_of_unused_bits
from conadv_tf.data.sharding import Shard
from conadv_tf.data.source import Source
from conadv_tf.data.splitting import ORIGINAL
from conadv_tf.data.splitting import Splits
from conadv_tf.paths import as_path

_TEST_NAMES = ("test", "validation", "val")
_MAX_LISTED = 5
_Files = dict[str, list[str]]  # {class name: paths}.


class FolderSource(Source):
    """A dataset of files `class_name/*.jpg` below a folder or bucket.

    The layout is PATH/train/class/file with PATH/test (or validation, val), or
    PATH/class/file with a holdout fraction. Classes are numbered in the order
    of their names. The suffix tells the format. TensorFlow decodes JPEG, PNG
    and GIF; Pillow, if it is installed, decodes BMP, WebP, TIFF, JPEG 2000 and
    AVIF. Only the first frame is read. Pixels of 12 and 16 bits are
    scaled. A warning reports images of 16 bits that use less than a quarter of
    their range. Skipped files are counted and logged once.

    Attributes:
      image_shape: None, because images may have any size.
      num_examples: {"train": int, "test": int}.
      num_classes: number of classes.
      class_names: list of str, indexed by class number.
      shuffle_buffer: None, which holds all paths in memory.
    """

    def __init__(self, path: str, splits: Splits = ORIGINAL) -> None:
        """Lists the files.

        Args:
          path: folder or bucket address.
          splits: a `Splits`. The names of the files of a class determine which
            of them are held out.

        Raises:
          ValueError: if the layout is neither of the two, a class has no
            image, a name is not UTF-8, or a holdout is missing or superfluous.
        """
        path = os.fspath(as_path(path))
        skipped = listing.SkippedFiles()
        entries = listing.folders(path)
        if "train" in entries:
            splits.check_no_holdout(path)
            test = next((name for name in _TEST_NAMES if name in entries), None)
            if test is None:
                raise ValueError(
                    f"Expected one of the folders {_TEST_NAMES} beside "
                    f"{listing.join(path, 'train')!r}; found {entries}."
                )
            files = _files_by_class(listing.join(path, "train"), skipped)
            test_files = _files_by_class(listing.join(path, test), skipped)
            _check_same_classes(path, files, test, test_files)
        elif splits.holdout is None:
            raise ValueError(
                f"Expected a folder train in {path!r}; found "
                f"{entries[:_MAX_LISTED]}. Rename the folders to train and "
                "test. If they are classes, hold out a part of their images "
                "for testing, with holdout=0.1 or in run.py --set holdout=0.1."
            )
        else:  # Test files are held out below.
            files = test_files = _files_by_class(path, skipped)
        skipped.warn(path)
        _check_distinct_classes(path, files)
        self.class_names = sorted(files)
        self.num_classes = len(self.class_names)
        paths, labels = self._paths_and_labels(files)
        warn_of_unused_bits(path, paths.tolist())
        train, held_out = splits.divide(
            labels,
            self.num_classes,
            functools.partial(self._hold_out, paths, labels),
        )
        self._files = {
            "train": (paths[train], labels[train]),
            "test": self._paths_and_labels(test_files)
            if held_out is None
            else (paths[held_out], labels[held_out]),
        }
        self.num_examples = {
            split: len(labels) for split, (_, labels) in self._files.items()
        }

    def read(self, image: tf.Tensor) -> tf.Tensor:
        """Returns the bytes of the file at the path in a record."""
        return tf.io.read_file(image)

    def records(
        self, split: str, shard: Shard, seed: Optional[int]
    ) -> tf.data.Dataset:
        """Returns the records of one host; see `Source.records`.

        The seed is not used, because all paths fit into memory.

        Returns:
          Dataset of (path, label, path): string, int64, string; sorted by
          class and name.
        """
        del seed
        dataset = tf.data.Dataset.from_tensor_slices(self._files[split])
        dataset = dataset.shard(shard.count, shard.index)
        return dataset.map(lambda path, label: (path, label, path))

    def _paths_and_labels(self, files: _Files) -> tuple[np.ndarray, np.ndarray]:
        """Returns paths (str objects) [n] and labels (int64) [n]."""
        paths = [path for name in self.class_names for path in files[name]]
        counts = [len(files[name]) for name in self.class_names]
        labels = np.repeat(np.arange(self.num_classes), counts)
        return np.array(paths, object), labels

    def _hold_out(
        self,
        paths: np.ndarray,
        labels: np.ndarray,
        positions: np.ndarray,
        fraction: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Holds out the files of each class whose names have lowest hashes.

        Returns:
          (positions held out, remaining positions).
        """

        def rank(position: int) -> str:
            class_name = self.class_names[labels[position]]
            name = f"{class_name}/{paths[position].rsplit('/', 1)[-1]}"
            return hashlib.sha256(name.encode()).hexdigest()

        held_out: list[int] = []
        for label, class_name in enumerate(self.class_names):
            members = positions[labels[positions] == label]
            count = max(1, round(fraction * len(members)))
            if count == len(members):
                raise ValueError(
                    f"Holding out {fraction} leaves no training image of class "
                    f"{class_name!r}, which has {len(members)}. Use a smaller "
                    "fraction or add images."
                )
            held_out += sorted(members, key=rank)[:count]
        is_held_out = np.isin(positions, held_out)
        return positions[is_held_out], positions[~is_held_out]


def _files_by_class(path: str, skipped: listing.SkippedFiles) -> _Files:
    """Returns {class name: sorted paths of its images}."""
    files = {}
    for name in listing.folders(path):
        folder = listing.join(path, name)
        files[name] = skipped.images_in(folder)
        if not files[name]:
            raise ValueError(
                f"Expected images {readable_suffixes()} in the class folder "
                f"{folder!r}; found none. Remove the folder if it is no class."
                + (f" Skipped so far: {skipped}." if str(skipped) else "")
            )
    if not files:
        raise ValueError(
            f"Expected a folder for each class in {path!r}; found none."
        )
    skipped.count_outside_classes(path)
    return files


def _check_same_classes(
    path: str, files: _Files, test: str, test_files: _Files
) -> None:
    """Raises a ValueError if the training and the test classes differ."""
    different = sorted(set(files) ^ set(test_files))
    if different:
        raise ValueError(
            f"Expected the same classes in train and {test} of {path!r}; found "
            f"{different[:5]} in only one of them.{_unicode_forms(different)}"
        )


def _check_distinct_classes(path: str, files: _Files) -> None:
    """Raises a ValueError for two classes whose names look the same."""
    forms = _unicode_forms(files)
    if forms:
        raise ValueError(f"Expected distinct classes in {path!r}.{forms}")


def _unicode_forms(names: Iterable[str]) -> str:
    """Names two class names that differ only in their Unicode form, or ""."""
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            return (
                f" {ascii(other)} and {ascii(name)} are two Unicode forms of "
                f"the name {name!r}. Rename one of them, for example with "
                "convmv -f utf8 -t utf8 --nfc."
            )
    return ""
