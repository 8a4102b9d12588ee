"""A dataset of images and labels that are arrays in memory."""

from collections.abc import Mapping
import math
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf.data import archives
from conadv_tf.data import splitting
from conadv_tf.data.sharding import Shard
from conadv_tf.data.source import Source
from conadv_tf.data.views import resize_whole

# Training images up to this size are kept as the network sees them.
_IN_MEMORY_BYTES = 2**30
_LOOK_UP_BATCH = 64


class ArraySource(Source):
    """A dataset of arrays x_train, y_train, x_test and y_test.

    Attributes:
      image_shape: (height, width, channels); 1 channel if the arrays have no
        channel axis.
      num_examples: {"train": int, "test": int}.
      num_classes: number of classes.
      class_names: class numbers as strings.
      shuffle_buffer: None, which holds all records in memory; 1 if they are
        too large for that, and are shuffled before their images are read.

    Example: without a test set, two of ten training images become one.
      >>> images, labels = np.zeros([10, 4, 4]), np.arange(10) % 2
      >>> source = ca.data.ArraySource(
      ...     "mine",
      ...     {"x_train": images, "y_train": labels},
      ...     ca.data.Splits(holdout=0.2),
      ... )
      >>> source.image_shape, source.num_examples
      ((4, 4, 1), {'train': 8, 'test': 2})
    """

    def __init__(
        self,
        name: str,
        arrays: Mapping[str, np.ndarray],
        splits: splitting.Splits = splitting.ORIGINAL,
        image_size: Optional[int] = None,
    ) -> None:
        """Validates the arrays.

        Args:
          name: name of the dataset in error messages.
          arrays: {name: array}. Images are uint8, or float in [0, 1]: [n,
            height, width] or [n, height, width, 1 or 3]. Labels are int [n] or
            [n, 1], from 0 without gaps.
          splits: a `Splits`; the last images of each class are held out.
          image_size: height and width that images are resized to by
            `resize_whole`; None leaves them as they are.

        Raises:
          ValueError: if an array is missing or not as described; the message
            lists the arrays received.
        """
        if "x_test" in arrays or "y_test" in arrays:
            splits.check_no_holdout(name)
        stored = ["train"] if splits.holdout is not None else ["train", "test"]
        try:
            self._data = {
                split: archives.images_and_labels(arrays, split)
                for split in stored
            }
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        shapes = [images.shape[1:] for images, _ in self._data.values()]
        if shapes[0] != shapes[-1]:
            raise ValueError(
                f"{name}: Expected images of one shape; received x_train of "
                f"{list(shapes[0])} and x_test of {list(shapes[-1])}."
            )
        images, labels = self._data["train"]
        self.num_classes = _num_classes(name, labels)
        self.class_names = [str(label) for label in range(self.num_classes)]

        def hold_out(
            positions: np.ndarray, fraction: float
        ) -> tuple[np.ndarray, np.ndarray]:
            last, rest = splitting.last_of_each_class(
                labels[positions], fraction
            )
            return positions[last], positions[rest]

        train, test = splits.divide(labels, self.num_classes, hold_out)
        test_arrays = "train"
        if test is None:
            test_arrays, test = "test", np.arange(len(self._data["test"][1]))
        # {split: (split of the arrays, positions in them)}.
        self._positions = {
            "train": ("train", train),
            "test": (test_arrays, test),
        }
        self.num_examples = {
            split: len(positions)
            for split, (_, positions) in self._positions.items()
        }
        self._image_size = image_size
        height, width, channels = shapes[0]
        if image_size is not None:
            height = width = image_size
        self.image_shape = height, width, channels
        pixel_bytes = 4 if image_size else images.itemsize
        num_pixels = len(train) * math.prod(self.image_shape)
        fits = num_pixels * pixel_bytes <= _IN_MEMORY_BYTES
        self.shuffle_buffer = None if fits else 1

    def records(
        self, split: str, shard: Shard, seed: Optional[int]
    ) -> tf.data.Dataset:
        """Returns the records of one host; see `Source.records`.

        Returns:
          Dataset of (image, label, name): uint8, or float32 in [0, 1],
          [height, width, channels]; int64; string, for example "x_train[17]".
        """
        stored_split, positions = self._positions[split]
        dataset = tf.data.Dataset.from_tensor_slices(positions).shard(
            shard.count, shard.index
        )
        if split == "train" and self.shuffle_buffer is not None:
            dataset = dataset.shuffle(
                shard.size(len(positions)), seed, reshuffle_each_iteration=True
            )
        with tf.device("CPU"):
            images, labels = map(tf.constant, self._data[stored_split])

        def look_up(position: tf.Tensor) -> tuple[tf.Tensor, ...]:
            image = tf.gather(images, position)
            if self._image_size is not None:
                image = resize_whole(image, self._image_size)
            number = tf.strings.as_string(position)
            name = tf.strings.join([f"x_{stored_split}[", number, "]"])
            return image, tf.gather(labels, position), name

        # In batches, because one record at a time takes five times as long.
        return dataset.batch(_LOOK_UP_BATCH).map(look_up).unbatch()


def _num_classes(name: str, labels: np.ndarray) -> int:
    """Returns the number of classes; negative labels are bad records."""
    found = np.unique(labels[labels >= 0])
    missing = np.setdiff1d(np.arange(found.max(initial=-1) + 1), found)
    if not len(found) or len(missing):
        raise ValueError(
            f"{name}: Expected y_train with classes from 0 without gaps; "
            f"received labels from {labels.min()} to {labels.max()} and no "
            f"training image of {missing[:5].tolist()}."
        )
    return len(found)
