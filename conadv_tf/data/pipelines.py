"""From the records of a source to batches: shuffled, decoded, checked."""

from collections.abc import Callable
from typing import Any
from typing import Optional
from typing import Union

import tensorflow as tf

from conadv_tf.data import decoding
from conadv_tf.data.arrays import ArraySource
from conadv_tf.data.bad_records import BadRecords
from conadv_tf.data.folders import FolderSource
from conadv_tf.data.map_skipping_errors import map_skipping_errors
from conadv_tf.data.records import TfdsSource
from conadv_tf.data.sharding import Share
from conadv_tf.data.views import to_unit
from conadv_tf.data.views import View

Source = Union[ArraySource, FolderSource, TfdsSource]
_PREFETCHED_BATCHES = 2


def training(
    source: Source,
    share: Share,
    seed: int,
    view: Optional[View],
    faults: BadRecords,
) -> tf.data.Dataset:
    """Examples of one epoch of one host, shuffled anew in each.

    Args:
      source: a source, as `TfdsSource`.
      share: the `Share` of this host.
      seed: int.
      view: function of (image, key), see `views`. None: small images as they
        are.
      faults: a `BadRecords`.

    Returns:
      Dataset of (image or pair of images, label).
    """
    seed = share.seed(seed)
    size = share.size(source.num_examples["train"])
    records = source.records("train", share, seed)
    if source.image_shape is not None:
        records = _with_good_labels(records, faults)
        if source.shuffle_buffer is None:
            records = records.cache()  # Decoded once.
    examples = records.shuffle(
        min(size, source.shuffle_buffer or size),
        seed=seed,
        reshuffle_each_iteration=True,
    )
    if view is not None:
        # A key for each image of each epoch, in order: what is random in a
        # view does not depend on how the map is scheduled.
        keys = tf.data.Dataset.random(
            seed=seed, rerandomize_each_iteration=True
        ).batch(2, drop_remainder=True)
        examples = tf.data.Dataset.zip((examples, keys))
        if source.image_shape is None:
            examples = _decoded(examples, source, view, faults)
        else:
            examples = examples.map(
                lambda example, key: (view(example[0], key), example[1]),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
    if faults.max_bad_records:
        # All hosts make the same number of steps, whoever has bad records.
        examples = examples.repeat().take(size)
    return examples


def evaluation(
    source: Source,
    share: Share,
    view: Callable[[tf.Tensor], tf.Tensor],
    faults: BadRecords,
) -> tf.data.Dataset:
    """Test examples of one host, in order.

    Args:
      source: a source, as `TfdsSource`.
      share: the `Share` of this host.
      view: function of contents; not used where images are not encoded.
      faults: a `BadRecords`.

    Returns:
      Dataset of (image, label).
    """
    records = source.records("test", share, seed=None)
    if source.image_shape is not None:
        return _with_good_labels(records, faults)
    no_key = tf.zeros([2], tf.int64)
    keyed = records.map(lambda *record: (record, no_key))
    return _decoded(keyed, source, lambda contents, key: view(contents), faults)


def batched(
    examples: tf.data.Dataset,
    batch_size: int,
    drop_remainder: bool,
    dtype: str,
    sharded: bool,
    in_memory: bool,
    same_each_time: bool = False,
) -> tf.data.Dataset:
    """Batches of images in [0, 1], with the options that `fit` needs.

    Args:
      examples: dataset of (image or pair of images, label).
      batch_size: examples of a batch.
      drop_remainder: whether to leave out a last smaller batch.
      dtype: of the images; uint8 images are divided by 255.
      sharded: whether each host has its own share already.
      in_memory: whether all decoded images are in memory.
      same_each_time: whether an epoch has the batches of any other; then
        those of images in memory are kept.

    Returns:
      A prefetching dataset.
    """

    def scale(image: tf.Tensor) -> tf.Tensor:
        if image.dtype == tf.uint8:
            return to_unit(image, dtype)
        return tf.cast(image, dtype)

    dataset = examples.batch(batch_size, drop_remainder=drop_remainder)
    dataset = dataset.map(
        lambda images, labels: (tf.nest.map_structure(scale, images), labels),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    if in_memory and same_each_time:
        # Half the time of an evaluation by a small network.
        dataset = dataset.cache()
    dataset = dataset.prefetch(_PREFETCHED_BATCHES)
    options = tf.data.Options()
    options.deterministic = True
    policy = tf.data.experimental.AutoShardPolicy
    options.experimental_distribute.auto_shard_policy = (
        policy.OFF if sharded else policy.DATA
    )
    # Small sets in memory gain nothing from tuning, and the tuner can keep
    # the end of `fit` waiting for seconds.
    options.autotune.enabled = not in_memory
    return dataset.with_options(options)


def _decoded(
    keyed: tf.data.Dataset, source: Source, view: View, faults: BadRecords
) -> tf.data.Dataset:
    """Views of encoded records, without the bad ones."""

    def example(
        record: tuple[tf.Tensor, ...], key: tf.Tensor
    ) -> tuple[Any, tf.Tensor]:
        image, label, _ = record
        tf.debugging.Assert(faults.good_label(label), ["label"])
        return view(source.read(image), key), label

    def look(image: tf.Tensor, key: tf.Tensor) -> Optional[str]:
        try:
            contents = source.read(image)
        except tf.errors.OpError as error:
            return f"cannot be read ({decoding.reason(error)})"
        fault = decoding.diagnose(contents.numpy())
        if fault is None:
            view(contents, key)  # For its error.
        return fault

    def report(record: tuple[tf.Tensor, ...], key: tf.Tensor) -> tf.Tensor:
        image, label, name = record
        return faults.report(look, label, name, image, key)

    return map_skipping_errors(keyed, example, report)


def _with_good_labels(
    records: tf.data.Dataset, faults: BadRecords
) -> tf.data.Dataset:
    """(image, label) of images that are not encoded, without bad labels."""

    def keep(image: tf.Tensor, label: tf.Tensor, name: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            faults.good_label(label),
            lambda: True,
            lambda: faults.report(lambda: None, label, name),
        )

    return records.filter(keep).map(lambda image, label, name: (image, label))
