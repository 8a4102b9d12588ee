"""Input pipelines: shuffle, decode, check and batch the records of a source."""

from collections.abc import Callable
from typing import Any
from typing import Optional

import tensorflow as tf

from conadv_tf.data import decoding
from conadv_tf.data.bad_records import BadRecords
from conadv_tf.data.map_skipping_errors import map_skipping_errors
from conadv_tf.data.sharding import Shard
from conadv_tf.data.source import Source
from conadv_tf.data.views import to_unit_range
from conadv_tf.data.views import View

_PREFETCHED_BATCHES = 2


def training(
    source: Source,
    shard: Shard,
    seed: int,
    view: Optional[View],
    bad_records: BadRecords,
) -> tf.data.Dataset:
    """Returns the training examples of one host, reshuffled in each epoch.

    Args:
      source: a `Source`.
      shard: the `Shard` of this host.
      seed: int, for shuffling and for random views.
      view: function of (image, key) from `views`; None leaves small images as
        they are.
      bad_records: a `BadRecords`.

    Returns:
      Dataset of (image or pair of images, label), one epoch.
    """
    seed = shard.seed(seed)
    size = shard.size(source.num_examples["train"])
    records = source.records("train", shard, seed)
    if source.image_shape is not None:
        records = _with_valid_labels(records, bad_records)
        if source.shuffle_buffer is None:
            records = records.cache()  # Decoded once.
    examples = records.shuffle(
        min(size, source.shuffle_buffer or size),
        seed=seed,
        reshuffle_each_iteration=True,
    )
    if view is not None:
        # Keys are drawn in order, one for each image of each epoch, so that
        # views do not depend on the scheduling of the map.
        keys = tf.data.Dataset.random(
            seed=seed, rerandomize_each_iteration=True
        ).batch(2, drop_remainder=True)
        examples = tf.data.Dataset.zip((examples, keys))
        if source.image_shape is None:
            examples = _decoded(examples, source, view, bad_records)
        else:
            examples = examples.map(
                lambda example, key: (view(example[0], key), example[1]),
                num_parallel_calls=tf.data.AUTOTUNE,
            )
    if bad_records.max_bad_records:
        # All hosts make the same number of steps, even if one has bad records.
        examples = examples.repeat().take(size)
    return examples


def evaluation(
    source: Source,
    shard: Shard,
    view: Callable[[tf.Tensor], tf.Tensor],
    bad_records: BadRecords,
) -> tf.data.Dataset:
    """Returns the test examples of one host, in order.

    Args:
      source: a `Source`.
      shard: the `Shard` of this host.
      view: function of the bytes of an encoded image; not used if images are
        not encoded.
      bad_records: a `BadRecords`.

    Returns:
      Dataset of (image, label).
    """
    records = source.records("test", shard, seed=None)
    if source.image_shape is not None:
        return _with_valid_labels(records, bad_records)
    no_key = tf.zeros([2], tf.int64)
    return _decoded(
        records.map(lambda *record: (record, no_key)),
        source,
        lambda contents, key: view(contents),
        bad_records,
    )


def batched(
    examples: tf.data.Dataset,
    batch_size: int,
    drop_remainder: bool,
    dtype: str,
    sharded: bool,
    in_memory: bool,
    same_each_epoch: bool = False,
) -> tf.data.Dataset:
    """Returns batches of images in [0, 1], with the options that `fit` needs.

    Args:
      examples: dataset of (image or pair of images, label).
      batch_size: examples of a batch.
      drop_remainder: whether to drop a smaller last batch.
      dtype: dtype of the returned images; uint8 images are divided by 255.
      sharded: whether each host reads only its shard already.
      in_memory: whether all decoded images are in memory.
      same_each_epoch: whether every epoch has the same batches; if so, batches
        of images in memory are cached.

    Returns:
      A prefetching dataset.
    """

    def scale(image: tf.Tensor) -> tf.Tensor:
        if image.dtype == tf.uint8:
            return to_unit_range(image, dtype)
        return tf.cast(image, dtype)

    dataset = examples.batch(batch_size, drop_remainder=drop_remainder)
    dataset = dataset.map(
        lambda images, labels: (tf.nest.map_structure(scale, images), labels),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    if in_memory and same_each_epoch:
        # Halves the time to evaluate a small network.
        dataset = dataset.cache()
    dataset = dataset.prefetch(_PREFETCHED_BATCHES)
    options = tf.data.Options()
    options.deterministic = True
    policy = tf.data.experimental.AutoShardPolicy
    options.experimental_distribute.auto_shard_policy = (
        policy.OFF if sharded else policy.DATA
    )
    # Tuning does not speed up small datasets in memory, and the tuner can delay
    # the end of `fit` by seconds.
    options.autotune.enabled = not in_memory
    return dataset.with_options(options)


def _decoded(
    keyed: tf.data.Dataset, source: Source, view: View, bad_records: BadRecords
) -> tf.data.Dataset:
    """Returns (view, label) of encoded records, without the bad ones.

    Args:
      keyed: dataset of (record, key).
      source: the `Source` of the records.
      view: function of (contents, key).
      bad_records: a `BadRecords`.
    """

    def example(
        record: tuple[tf.Tensor, ...], key: tf.Tensor
    ) -> tuple[Any, tf.Tensor]:
        image, label, _ = record
        tf.debugging.Assert(bad_records.is_valid_label(label), ["label"])
        return view(source.read(image), key), label

    def diagnose(image: tf.Tensor, key: tf.Tensor) -> Optional[str]:
        try:
            contents = source.read(image)
        except tf.errors.OpError as error:
            return f"cannot be read ({decoding.reason(error)})"
        problem = decoding.diagnose(contents.numpy())
        if problem is None:
            view(contents, key)  # Raises the error of the view.
        return problem

    def report(record: tuple[tf.Tensor, ...], key: tf.Tensor) -> tf.Tensor:
        image, label, name = record
        return bad_records.report(diagnose, label, name, image, key)

    return map_skipping_errors(keyed, example, report)


def _with_valid_labels(
    records: tf.data.Dataset, bad_records: BadRecords
) -> tf.data.Dataset:
    """Returns (image, label) of decoded records whose label is a class."""

    def keep(image: tf.Tensor, label: tf.Tensor, name: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            bad_records.is_valid_label(label),
            lambda: True,
            lambda: bad_records.report(lambda: None, label, name),
        )

    return records.filter(keep).map(lambda image, label, name: (image, label))
