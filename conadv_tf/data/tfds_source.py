"""A tensorflow-datasets image classification dataset as a `Source`."""

from collections.abc import Callable
from collections.abc import Mapping
import math
from typing import Any
from typing import Optional

import numpy as np
import tensorflow as tf

from conadv_tf.data import tfds_files
from conadv_tf.data.sharding import Shard
from conadv_tf.data.source import Source
from conadv_tf.data.splitting import ORIGINAL
from conadv_tf.data.splitting import Splits
from conadv_tf.data.splitting import stratified_subset
from conadv_tf.data.tfds_builder import image_and_label
from conadv_tf.data.tfds_builder import prepared_builder
from conadv_tf.data.tfds_builder import quiet

# The test split of imagenet2012 has no labels.
_TEST_SPLITS = {"imagenet2012": ("validation",)}
# Encoded records in memory while shuffling: 1 GB of ImageNet.
_SHUFFLE_BUFFER = 8192
# Decoded datasets up to this size are kept in memory.
_IN_MEMORY_BYTES = 2**30


class TfdsSource(Source):
    """A tensorflow-datasets image classification dataset.

    Attributes:
      image_shape: (height, width, channels); None if images may have any size,
        and are then encoded.
      num_examples: {"train": int, "test": int}.
      num_classes: number of classes.
      class_names: list of str, indexed by class number.
      shuffle_buffer: number of records held in memory while shuffling; None
        holds all of them.
    """

    def __init__(
        self,
        name: str,
        data_dir: Optional[str] = None,
        splits: Splits = ORIGINAL,
        encoded: bool = False,
    ) -> None:
        """Opens a dataset.

        Args:
          name: "digits", or a name of tensorflow-datasets, with "/config" if
            the dataset has several.
          data_dir: folder or bucket of prepared datasets; None is the
            environment variable TFDS_DATA_DIR or ~/tensorflow_datasets.
          splits: a `Splits`; the last records of the training split are held
            out. A subset is chosen by labels, for which the training split is
            read once.
          encoded: whether to read encoded images even if all have one size.

        Raises:
          ValueError: if the name is unknown, the data are not prepared and
            cannot be downloaded, files are missing, or there is no image,
            label, training or test split.
        """
        self._builder = prepared_builder(name, data_dir)
        tfds_files.check_described(self._builder)
        self._keys = image_and_label(self._builder)
        available = self._builder.info.splits
        # {split: its records in the notation of tfds}.
        self._tfds_splits = _tfds_splits(name, available, splits)
        tfds_files.check_complete(self._builder, self._stored_splits())
        image, label = (self._builder.info.features[k] for k in self._keys)
        static = not encoded and None not in image.shape
        self.image_shape = tuple(image.shape) if static else None
        self.class_names = label.names
        self.num_classes = label.num_classes
        # {split: names of its records}, if it has only some of a tfds split.
        self._chosen: dict[str, np.ndarray] = {}
        if splits.train_images is not None:
            self._choose(splits.train_images, splits)
        self.num_examples = {
            split: len(self._chosen[split])
            if split in self._chosen
            else available[tfds_split].num_examples
            for split, tfds_split in self._tfds_splits.items()
        }
        size = self.num_examples["train"] * math.prod(self.image_shape or ())
        fits = static and size <= _IN_MEMORY_BYTES
        self.shuffle_buffer = None if fits else _SHUFFLE_BUFFER

    def records(
        self, split: str, shard: Shard, seed: Optional[int]
    ) -> tf.data.Dataset:
        """Returns the records of one host; see `Source.records`.

        A shard is a contiguous part of the split, so that no other host reads
        the same bytes. If a subset was chosen, each host reads all records and
        keeps the ones of its shard. The seed shuffles the files of encoded
        training records, which are too many to shuffle in memory.

        Returns:
          Dataset of (image, label, name): string or uint8 [height, width,
          channels], int64, string.
        """
        import tensorflow_datasets as tfds

        image, label = self._keys
        encoded = self.image_shape is None
        tfds_split, chosen = self._tfds_splits[split], self._chosen.get(split)
        if chosen is None:
            tfds_split = tfds.even_splits(tfds_split, shard.count)[shard.index]
        dataset = self._read(
            tfds_split,
            [image, label],
            {image: tfds.decode.SkipDecoding()} if encoded else None,
            shuffle_files=encoded and split == "train",
            seed=seed,
        )
        if chosen is not None:
            dataset = dataset.filter(
                _is_one_of(chosen[shard.index :: shard.count])
            )
        return dataset.map(
            lambda record: (record[image], record[label], record["tfds_id"])
        )

    def check_files(self) -> None:
        """Reads all records; a ValueError names a damaged file."""
        tfds_files.check_records(self._builder, self._stored_splits())

    def _stored_splits(self) -> list[str]:
        """Returns the names of the splits that are read, without slices."""
        names = [split.split("[")[0] for split in self._tfds_splits.values()]
        return list(dict.fromkeys(names))

    def _choose(self, size: int, splits: Splits) -> None:
        """Chooses the training records and the validation records."""
        tfds_split, label = self._tfds_splits["train"], self._keys[1]
        try:
            pairs = [
                (record[label], record["tfds_id"])
                for record in self._read(
                    tfds_split, [label]
                ).as_numpy_iterator()
            ]
        except tf.errors.OpError:
            self.check_files()
            raise
        labels, names = (np.array(column) for column in zip(*pairs))
        names = names[
            stratified_subset(labels, size, self.num_classes, splits.seed)
        ]
        if splits.validation_fraction is not None:
            size = _num_kept(size, splits.validation_fraction)
            self._tfds_splits["test"] = tfds_split
            self._chosen["test"] = names[size:]
        self._chosen["train"] = names[:size]

    def _read(
        self,
        split: Any,
        keys: list[str],
        decoders: Any = None,
        shuffle_files: bool = False,
        seed: Optional[int] = None,
    ) -> tf.data.Dataset:
        """Returns records of a tfds split with these features and their ids."""
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
    """Returns a predicate: whether the id of a record is one of these names."""
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(names, tf.string), tf.ones(len(names), tf.int64)
        ),
        default_value=0,
    )
    return lambda record: tf.equal(table.lookup(record["tfds_id"]), 1)


def _tfds_splits(
    name: str, available: Mapping[str, Any], splits: Splits
) -> dict[str, str]:
    """Returns {"train": split, "test": split} in the notation of tfds."""
    if "train" not in available:
        raise ValueError(
            f"Expected {name!r} to have a split 'train'; found "
            f"{sorted(available)}."
        )
    size = available["train"].num_examples
    candidates = _TEST_SPLITS.get(name.split("/")[0], ("test", "validation"))
    test = next((split for split in candidates if split in available), None)
    if test is not None:
        splits.check_no_holdout(name)
    elif splits.holdout is None:
        raise ValueError(
            f"Expected {name!r} to have a split among {candidates}; found "
            f"{sorted(available)}. Hold out a part of 'train', with "
            "holdout=0.1 or in run.py --set holdout=0.1."
        )
    else:
        size = _num_kept(size, splits.holdout)
        test = f"train[{size}:]"
    # A validation set is part of the subset, if there is one.
    if splits.validation_fraction is not None and splits.train_images is None:
        end, size = size, _num_kept(size, splits.validation_fraction)
        test = f"train[{size}:{end}]"
    return {"train": f"train[:{size}]", "test": test}


def _num_kept(size: int, fraction: float) -> int:
    """Returns how many records are left after a fraction is held out."""
    return size - max(1, round(fraction * size))
