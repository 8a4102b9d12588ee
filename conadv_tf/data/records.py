"""Records of a tensorflow-datasets image set, host by host."""

from collections.abc import Callable
from collections.abc import Mapping
import math
from typing import Any
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf.data import subsets
from conadv_tf.data.folders import check_holdout
from conadv_tf.data.folders import check_no_holdout
from conadv_tf.data.sharding import Share
from conadv_tf.data.sources import image_and_label
from conadv_tf.data.sources import prepared_builder
from conadv_tf.data.sources import quiet

# imagenet2012 has a test split too, without labels.
_TEST_SPLITS = {"imagenet2012": ("validation",)}
# Encoded records in memory while shuffling: 1 GB of ImageNet.
_SHUFFLE_BUFFER = 8192
# Decoded sets up to this size are kept in memory.
_IN_MEMORY_BYTES = 2**30


class TfdsSource:
    """A tensorflow-datasets classification set.

    image_shape: (height, width, channels), or None where images have any
      size; those are read encoded.
    num_examples: {"train": ..., "test": ...}.
    class_names: str, by class number.
    shuffle_buffer: records that may wait in memory; None is all of them.
    """

    def __init__(
        self,
        name: str,
        data_dir: Optional[str] = None,
        holdout: Optional[float] = None,
        encoded: bool = False,
        validation_fraction: Optional[float] = None,
        train_images: Optional[int] = None,
        seed: int = 0,
    ) -> None:
        """Opens a dataset.

        Args:
          name: as in `prepared_builder`.
          data_dir: as in `prepared_builder`.
          holdout: fraction of the training split, in (0, 1), that is the
            test set of a dataset that has none.
          encoded: whether to read images encoded even if all have one size.
          validation_fraction: fraction of the training split, in (0, 1), its
            last records, that takes the place of the test set; or None.
          train_images: number of training images (a `stratified_subset`)
            before any are held out to validate; None is all. Chosen by their
            labels, for which the training split is read once.
          seed: chooses them.

        Raises:
          ValueError: as `prepared_builder`; or if there is no image, label,
            training or test split.
        """
        self._builder = prepared_builder(name, data_dir)
        self._keys = image_and_label(self._builder)
        splits = self._builder.info.splits
        self._splits = _splits(
            name,
            splits,
            holdout,
            # Of those that are chosen, if some are.
            None if train_images is not None else validation_fraction,
        )
        image, label = (self._builder.info.features[k] for k in self._keys)
        static = not encoded and None not in image.shape
        self.image_shape = tuple(image.shape) if static else None
        self.class_names = label.names
        self.num_classes = label.num_classes
        # {part: names of its records}, where they are not all of a split.
        self._chosen: dict[str, np.ndarray] = {}
        if train_images is not None:
            self._choose(train_images, seed, validation_fraction)
        self.num_examples = {
            part: len(self._chosen[part])
            if part in self._chosen
            else splits[split].num_examples
            for part, split in self._splits.items()
        }
        self.shuffle_buffer: Optional[int] = _SHUFFLE_BUFFER
        if static:
            size = self.num_examples["train"] * math.prod(image.shape)
            if size <= _IN_MEMORY_BYTES:
                self.shuffle_buffer = None

    def read(self, image: tf.Tensor) -> tf.Tensor:
        """The image of a record, which is there already."""
        return image

    def records(
        self, part: str, share: Share, seed: Optional[int]
    ) -> tf.data.Dataset:
        """Records of one host.

        Args:
          part: "train" or "test".
          share: the `Share` of this host: a contiguous part of the split, so
            that no other host reads these bytes. Where records were chosen,
            each host reads all and keeps its own.
          seed: shuffles the files of encoded training records, anew in each
            epoch; they are too many to shuffle in memory.

        Returns:
          Dataset of (image, label, name): string or uint8 [height, width,
          channels], int64, string.
        """
        import tensorflow_datasets as tfds

        image, label = self._keys
        encoded = self.image_shape is None
        split, chosen = self._splits[part], self._chosen.get(part)
        if chosen is None:
            split = tfds.even_splits(split, share.count)[share.index]
        dataset = self._read(
            split,
            [image, label],
            {image: tfds.decode.SkipDecoding()} if encoded else None,
            shuffle_files=encoded and part == "train",
            seed=seed,
        )
        if chosen is not None:
            dataset = dataset.filter(
                _is_one_of(chosen[share.index :: share.count])
            )
        return dataset.map(
            lambda record: (record[image], record[label], record["tfds_id"])
        )

    def _choose(
        self,
        size: int,
        seed: int,
        validation_fraction: Optional[float],
    ) -> None:
        """Chooses the training records, and those to validate on."""
        split, label = self._splits["train"], self._keys[1]
        every = [
            (record[label], record["tfds_id"])
            for record in self._read(split, [label]).as_numpy_iterator()
        ]
        labels, names = (np.array(column) for column in zip(*every))
        names = names[
            subsets.stratified_subset(labels, size, self.num_classes, seed)
        ]
        if validation_fraction is not None:
            check_holdout(validation_fraction, "validation_fraction")
            size = _rest(size, validation_fraction)
            self._splits["test"], self._chosen["test"] = split, names[size:]
        self._chosen["train"] = names[:size]

    def _read(
        self,
        split: Any,
        keys: list[str],
        decoders: Any = None,
        shuffle_files: bool = False,
        seed: Optional[int] = None,
    ) -> tf.data.Dataset:
        """Records of a split with these features and their names."""
        import tensorflow_datasets as tfds

        with quiet():
            return self._builder.as_dataset(
                split=split,
                shuffle_files=shuffle_files,
                decoders=tfds.decode.PartialDecoding(
                    dict.fromkeys(keys, True), decoders
                ),
                read_config=tfds.ReadConfig(
                    add_tfds_id=True,
                    shuffle_seed=seed,
                    shuffle_reshuffle_each_iteration=True,
                    try_autocache=False,
                ),
            )


def _is_one_of(
    names: np.ndarray,
) -> Callable[[dict[str, tf.Tensor]], tf.Tensor]:
    """Whether a record has one of these names."""
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(names, tf.string), tf.ones(len(names), tf.int64)
        ),
        default_value=0,
    )
    return lambda record: tf.equal(table.lookup(record["tfds_id"]), 1)


def _splits(
    name: str,
    available: Mapping[str, Any],
    holdout: Optional[float],
    validation_fraction: Optional[float],
) -> dict[str, str]:
    """{"train": split, "test": split} in the notation of tfds."""
    size, test = _train_and_test(name, available, holdout)
    if validation_fraction is not None:
        check_holdout(validation_fraction, "validation_fraction")
        end, size = size, _rest(size, validation_fraction)
        test = f"train[{size}:{end}]"
    return {"train": f"train[:{size}]", "test": test}


def _train_and_test(
    name: str, available: Mapping[str, Any], holdout: Optional[float]
) -> tuple[int, str]:
    """Records of "train" to train with, and the test split."""
    if "train" not in available:
        raise ValueError(
            f"Expected {name!r} to have a split 'train'; found "
            f"{sorted(available)}."
        )
    wanted = _TEST_SPLITS.get(name.split("/")[0], ("test", "validation"))
    test = next((split for split in wanted if split in available), None)
    if test is not None:
        check_no_holdout(name, holdout)
        return available["train"].num_examples, test
    if holdout is None:
        raise ValueError(
            f"Expected {name!r} to have a split among {wanted}; found "
            f"{sorted(available)}. Hold a part of 'train' out, for example "
            "holdout=0.1."
        )
    check_holdout(holdout)
    first = _rest(available["train"].num_examples, holdout)
    return first, f"train[{first}:]"


def _rest(size: int, fraction: float) -> int:
    return size - max(1, round(fraction * size))
