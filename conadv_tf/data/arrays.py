"""Images and labels that are arrays in memory."""

from collections.abc import Mapping
import math
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf.data import archives
from conadv_tf.data import subsets
from conadv_tf.data.folders import check_holdout
from conadv_tf.data.folders import check_no_holdout
from conadv_tf.data.sharding import Share
from conadv_tf.data.views import resize_whole

# Training images up to this size are kept as the network sees them.
_IN_MEMORY_BYTES = 2**30
_AT_ONCE = 64


class ArraySource:
    """Arrays x_train, y_train, x_test and y_test.

    image_shape: (height, width, channels); 1 channel where arrays have none.
    num_examples: {"train": ..., "test": ...}.
    class_names: their numbers.
    shuffle_buffer: records that may wait in memory: None is all of them; 1
      where they are too large for that, and come shuffled.

    Example: without a test set, two of ten training images are one.
      >>> images, labels = np.zeros([10, 4, 4]), np.arange(10) % 2
      >>> source = ca.data.ArraySource(
      ...     "mine", {"x_train": images, "y_train": labels}, holdout=0.2
      ... )
      >>> source.image_shape, source.num_examples
      ((4, 4, 1), {'train': 8, 'test': 2})
    """

    def __init__(
        self,
        name: str,
        arrays: Mapping[str, np.ndarray],
        holdout: Optional[float] = None,
        image_size: Optional[int] = None,
        validation_fraction: Optional[float] = None,
        train_images: Optional[int] = None,
        seed: int = 0,
    ) -> None:
        """Checks the arrays.

        Args:
          name: of the dataset, in errors.
          arrays: {name: array}. Images uint8, or float in [0, 1]: [n, height,
            width] or [n, height, width, 1 or 3]. Labels int [n] or [n, 1],
            from 0 without gaps.
          holdout: fraction of the training images, in (0, 1), that is the
            test set where there is none: the last of each class.
          image_size: height and width that images are resized to, as
            `resize_whole` does; None leaves them as they are.
          validation_fraction: fraction of the training images, in (0, 1),
            that takes the place of the test set: the last of each class.
          train_images: number of training images (a `stratified_subset`)
            before any are held out to validate; None is all.
          seed: chooses them.

        Raises:
          ValueError: if an array is missing or not as described; it says what
            is there.
        """
        parts = ["train"] if holdout is not None else ["train", "test"]
        if "x_test" in arrays or "y_test" in arrays:
            check_no_holdout(name, holdout)
        try:
            self._data = {
                part: archives.checked(arrays, part) for part in parts
            }
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        shapes = [images.shape[1:] for images, _ in self._data.values()]
        if shapes[0] != shapes[-1]:
            raise ValueError(
                f"{name}: Expected images of one shape; received x_train of "
                f"{list(shapes[0])} and x_test of {list(shapes[-1])}."
            )
        self.num_classes = _num_classes(name, self._data["train"][1])
        self.class_names = [str(label) for label in range(self.num_classes)]
        self._positions = self._divide(
            holdout, validation_fraction, train_images, seed
        )
        self.num_examples = {
            part: len(positions)
            for part, (_, positions) in self._positions.items()
        }
        self._image_size = image_size
        height, width, channels = shapes[0]
        if image_size is not None:
            height = width = image_size
        self.image_shape = height, width, channels
        images = self._data["train"][0]
        pixel_bytes = 4 if image_size else images.itemsize
        total = self.num_examples["train"] * math.prod(self.image_shape)
        fits = total * pixel_bytes <= _IN_MEMORY_BYTES
        self.shuffle_buffer = None if fits else 1

    def _divide(
        self,
        holdout: Optional[float],
        validation_fraction: Optional[float],
        train_images: Optional[int],
        seed: int,
    ) -> dict[str, tuple[str, np.ndarray]]:
        """{part: (arrays that it is of, positions in them)}."""
        labels = self._data["train"][1]
        if holdout is None:
            train = np.arange(len(labels))
            test = "test", np.arange(len(self._data["test"][1]))
        else:
            check_holdout(holdout)
            held_out, train = subsets.last_of_each_class(labels, holdout)
            test = "train", held_out
        if train_images is not None:
            train = train[
                subsets.stratified_subset(
                    labels[train], train_images, self.num_classes, seed
                )
            ]
        if validation_fraction is not None:
            check_holdout(validation_fraction, "validation_fraction")
            held_out, rest = subsets.last_of_each_class(
                labels[train], validation_fraction
            )
            test, train = ("train", train[held_out]), train[rest]
        return {"train": ("train", train), "test": test}

    def read(self, image: tf.Tensor) -> tf.Tensor:
        """The image of a record, which is there already."""
        return image

    def records(
        self, part: str, share: Share, seed: Optional[int]
    ) -> tf.data.Dataset:
        """Records of one host.

        Args:
          part: "train" or "test".
          share: the `Share` of this host.
          seed: shuffles training images that are too large to wait in memory,
            anew in each epoch.

        Returns:
          Dataset of (image, label, name): uint8, or float32 in [0, 1],
          [height, width, channels]; int64; string, as "x_train[17]".
        """
        arrays, positions = self._positions[part]
        images, labels = self._data[arrays]
        dataset = tf.data.Dataset.from_tensor_slices(positions).shard(
            share.count, share.index
        )
        if part == "train" and self.shuffle_buffer is not None:
            dataset = dataset.shuffle(
                share.size(len(positions)), seed, reshuffle_each_iteration=True
            )
        with tf.device("CPU"):
            stored = tf.constant(images), tf.constant(labels)

        def look_up(position: tf.Tensor) -> tuple[tf.Tensor, ...]:
            image, label = (tf.gather(array, position) for array in stored)
            if self._image_size is not None:
                image = resize_whole(image, self._image_size)
            number = tf.strings.as_string(position)
            return image, label, tf.strings.join([f"x_{arrays}[", number, "]"])

        # Together, because one at a time takes five times as long.
        return dataset.batch(_AT_ONCE).map(look_up).unbatch()


def _num_classes(name: str, labels: np.ndarray) -> int:
    """Classes of training labels; negative ones are bad records."""
    there = np.unique(labels[labels >= 0])
    missing = np.setdiff1d(np.arange(there.max(initial=-1) + 1), there)
    if not len(there) or len(missing):
        raise ValueError(
            f"{name}: Expected y_train with classes from 0 without gaps; "
            f"received labels from {labels.min()} to {labels.max()} and no "
            f"training image of {missing[:5].tolist()}."
        )
    return len(there)
