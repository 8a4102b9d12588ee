"""A user's own images, one folder for each class."""

import hashlib
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf.data import listing
from conadv_tf.data import subsets
from conadv_tf.data.decoding import readable_suffixes
from conadv_tf.data.sharding import Share

_TEST_NAMES = ("test", "validation", "val")
_Files = dict[str, list[str]]  # {class name: paths}.


class FolderSource:
    """Files `class_name/*.jpg`, and of other formats, below a path or bucket.

    Either PATH/train/class/file with PATH/test (or validation, val), or
    PATH/class/file with a hold-out fraction. Classes are numbered in the
    order of their names. Formats are told by names: JPEG, PNG, BMP and GIF
    (its first frame), which TensorFlow decodes, and where Pillow is installed
    WebP, TIFF, JPEG 2000 and AVIF. What is left out is counted and logged once.

    image_shape: None, images have any size.
    num_examples: {"train": ..., "test": ...}.
    class_names: str, by class number.
    shuffle_buffer: records that may wait in memory; None is all of them.
    """

    image_shape = None
    shuffle_buffer = None

    def __init__(
        self,
        path: str,
        holdout: Optional[float] = None,
        validation_fraction: Optional[float] = None,
        train_images: Optional[int] = None,
        seed: int = 0,
    ) -> None:
        """Lists the files.

        Args:
          path: folder or bucket address.
          holdout: fraction of each class, in (0, 1), that is the test set
            of PATH/class/file. Which files depends on their names alone.
          validation_fraction: fraction of the training images of each class,
            in (0, 1), that takes the place of the test set, chosen in the
            same way; or None.
          train_images: number of training images (a `stratified_subset`)
            before any are held out to validate; None is all.
          seed: chooses them.

        Raises:
          ValueError: if there is no such layout, a class has no image, a name
            is not UTF-8, or `holdout` is missing or superfluous.
        """
        left_out = listing.SkippedFiles()
        entries = _folders(path)
        if "train" in entries:
            check_no_holdout(path, holdout)
            test = next((name for name in _TEST_NAMES if name in entries), None)
            if test is None:
                raise ValueError(
                    f"Expected one of the folders {_TEST_NAMES} beside "
                    f"{listing.join(path, 'train')!r}; found {entries}."
                )
            train_files = _files_by_class(listing.join(path, "train"), left_out)
            test_files = _files_by_class(listing.join(path, test), left_out)
            _check_same_classes(path, train_files, test_files)
        else:
            if holdout is None:
                raise ValueError(
                    f"{path!r} has no folder train, so its class folders need "
                    "a hold-out fraction, for example holdout=0.1; received "
                    "None."
                )
            check_holdout(holdout)
            test_files, train_files = _hold_out(
                _files_by_class(path, left_out), holdout
            )
        left_out.warn(path)
        if train_images is not None:
            train_files = _chosen(train_files, train_images, seed)
        if validation_fraction is not None:
            check_holdout(validation_fraction, "validation_fraction")
            test_files, train_files = _hold_out(
                train_files, validation_fraction
            )
        self.class_names = sorted(train_files)
        self.num_classes = len(self.class_names)
        self._files = {
            "train": self._labelled(train_files),
            "test": self._labelled(test_files),
        }
        self.num_examples = {
            part: len(labels) for part, (_, labels) in self._files.items()
        }

    def read(self, image: tf.Tensor) -> tf.Tensor:
        """Contents of the file that stands for the image in a record."""
        return tf.io.read_file(image)

    def records(
        self, part: str, share: Share, seed: Optional[int]
    ) -> tf.data.Dataset:
        """Records of one host, unread.

        Args:
          part: "train" or "test".
          share: the `Share` of this host.
          seed: not needed: what is shuffled are names, and all at once.

        Returns:
          Dataset of (path, label, path): string, int64, string; in order of
          class and name.
        """
        del seed
        paths, labels = self._files[part]
        dataset = tf.data.Dataset.from_tensor_slices(
            (tf.constant(paths), tf.constant(labels, tf.int64))
        ).shard(share.count, share.index)
        return dataset.map(lambda path, label: (path, label, path))

    def _labelled(self, files: _Files) -> tuple[list[str], list[int]]:
        pairs = [
            (path, label)
            for label, name in enumerate(self.class_names)
            for path in files[name]
        ]
        return [path for path, _ in pairs], [label for _, label in pairs]


def _folders(path: str) -> list[str]:
    if not _is_folder(path):
        raise ValueError(
            f"Expected a folder of images at {path!r}; there is no folder. "
            "Make PATH/train/CLASS/*.jpg and PATH/test/CLASS/*.jpg, or "
            "PATH/CLASS/*.jpg with a hold-out fraction."
        )
    return listing.folders(path)


def _is_folder(path: str) -> bool:
    try:
        return tf.io.gfile.isdir(path)
    except UnicodeEncodeError:  # `listing` says so.
        return True


def _files_by_class(path: str, left_out: listing.SkippedFiles) -> _Files:
    """{class name: sorted paths of its images}."""
    files = {}
    for name in _folders(path):
        folder = listing.join(path, name)
        files[name] = left_out.images_in(folder)
        if not files[name]:
            raise ValueError(
                f"Expected images {readable_suffixes()} in the class folder "
                f"{folder!r}; found none. Remove the folder if it is no class."
                + (f" Left out so far: {left_out}." if str(left_out) else "")
            )
    if not files:
        raise ValueError(
            f"Expected a folder for each class in {path!r}; found none."
        )
    left_out.beside(path)
    return files


def _chosen(files: _Files, size: int, seed: int) -> _Files:
    """As many files of each class as of any other."""
    every = [(name, path) for name in sorted(files) for path in files[name]]
    number = {name: label for label, name in enumerate(sorted(files))}
    labels = np.array([number[name] for name, _ in every])
    chosen: _Files = {name: [] for name in files}
    for position in subsets.stratified_subset(labels, size, len(files), seed):
        name, path = every[position]
        chosen[name].append(path)
    return chosen


def _hold_out(files: _Files, fraction: float) -> tuple[_Files, _Files]:
    """(held out, rest), both {class name: paths} as `files` is."""
    held_out, rest = {}, {}
    for name, members in files.items():
        held_out[name], rest[name] = _hold_out_of_class(name, members, fraction)
    return held_out, rest


def _hold_out_of_class(
    class_name: str, paths: list[str], fraction: float
) -> tuple[list[str], list[str]]:
    """(held out, rest): the files whose names hash lowest, and the others."""

    def rank(path: str) -> str:
        name = f"{class_name}/{path.rsplit('/', 1)[-1]}"
        return hashlib.sha256(name.encode()).hexdigest()

    count = max(1, round(fraction * len(paths)))
    if count == len(paths):
        raise ValueError(
            f"A hold-out of {fraction} leaves no training image of class "
            f"{class_name!r}, which has {len(paths)}. Take a smaller fraction "
            "or add images."
        )
    held_out = set(sorted(paths, key=rank)[:count])
    return (
        [path for path in paths if path in held_out],
        [path for path in paths if path not in held_out],
    )


def check_holdout(fraction: float, name: str = "holdout") -> None:
    """Raises a ValueError unless it is a fraction."""
    if not 0 < fraction < 1:
        raise ValueError(f"Expected {name} in (0, 1); received {fraction}.")


def check_no_holdout(name: str, holdout: Optional[float]) -> None:
    """Raises a ValueError if a part of a dataset with a test set is asked."""
    if holdout is not None:
        raise ValueError(
            f"{name!r} has its own test set, so nothing is held out; "
            f"received holdout={holdout}."
        )


def _check_same_classes(path: str, train: _Files, test: _Files) -> None:
    different = sorted(set(train) ^ set(test))
    if different:
        raise ValueError(
            f"Expected the same classes in both parts of {path!r}; only one "
            f"part has {different[:5]}."
        )
