"""The interface between datasets and the input pipelines that read them."""

from typing import Optional

import tensorflow as tf

from conadv_tf.data.sharding import Shard


class Source:
    """Records of a dataset with a training and a test split.

    `ArraySource`, `FolderSource` and `TfdsSource` implement it. The functions
    of `pipelines` accept any other subclass too.

    Attributes:
      image_shape: (height, width, channels); None if images may have any size,
        and are then encoded.
      num_examples: {"train": int, "test": int}, counted over all hosts.
      num_classes: number of classes.
      class_names: list of str, indexed by class number.
      shuffle_buffer: number of training records held in memory while
        shuffling; None holds all of them.
    """

    image_shape: Optional[tuple[int, int, int]] = None
    num_examples: dict[str, int]
    num_classes: int
    class_names: list[str]
    shuffle_buffer: Optional[int] = None

    def read(self, image: tf.Tensor) -> tf.Tensor:
        """Returns the image, or the file's bytes, for the image of a record.

        By default a record holds the image itself.
        """
        return image

    def records(
        self, split: str, shard: Shard, seed: Optional[int]
    ) -> tf.data.Dataset:
        """Returns the records of one host.

        Args:
          split: "train" or "test".
          shard: the `Shard` that this host reads.
          seed: int that shuffles training records which do not fit into
            memory, differently in each epoch; None does not shuffle.

        Returns:
          Dataset of (image, label, name). The image is what `read` takes, the
          label an int64 scalar. The name, a string scalar, identifies the
          record in error messages.
        """
        raise NotImplementedError

    def check_files(self) -> None:
        """Raises a ValueError that names a damaged file, if one is found.

        Called after the data could not be read. By default it does nothing:
        damaged images are bad records, which are named anyway.
        """
