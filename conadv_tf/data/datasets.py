"""One interface to classification datasets, on tensorflow-datasets.

tensorflow-datasets is imported when a dataset is loaded, not before.
"""

import dataclasses
import math
import os
from typing import Any
import urllib.error
import urllib.request

import tensorflow as tf

NAMES = ("digits", "cifar10", "cifar100")
_EMBEDDED = ("digits",)
_TFDS_NAMES = {"digits": "conadv_digits"}
# Zero padding around a training image before its random crop, and whether a
# mirrored image is of the same class.
_AUGMENTATION = {"cifar10": (4, True), "cifar100": (4, True)}
_SHUFFLE_BUFFER = 50_000
_TIMEOUT_SECONDS = 5


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset ready for `model.fit`, and what one must know about it.

    train: batches (images float32 [batch, height, width, channels] in [0, 1],
      labels int64 [batch]), one epoch, shuffled anew in each.
    test: the same, in order, last batch smaller.
    image_shape: (height, width, channels).
    """

    train: Any
    test: Any
    num_classes: int
    image_shape: tuple[int, int, int]
    num_train: int
    num_test: int
    steps_per_epoch: int


def load(
    name="digits",
    global_batch_size=128,
    seed=0,
    data_dir=None,
    drop_remainder=True,
):
    """Loads a dataset, preparing it first where that is possible.

    Args:
      name: one of `NAMES`. "digits" is embedded: no network is touched.
      global_batch_size: images per step over all replicas.
      seed: int; the same seed gives the same epochs.
      data_dir: directory (or bucket) of prepared datasets; None is the
        environment variable TFDS_DATA_DIR or ~/tensorflow_datasets.
      drop_remainder: whether to leave out a last smaller training batch, so
        that shapes are static (XLA, TPUs).

    Returns:
      A `Dataset`.

    Raises:
      ValueError: if the name is unknown, the training set is smaller than one
        batch, or the data are not prepared and cannot be downloaded.
    """
    if name not in NAMES:
        raise ValueError(
            f"Expected a dataset among {NAMES}; received {name!r}."
        )
    builder = _prepared_builder(name, data_dir)
    num_train = builder.info.splits["train"].num_examples
    if not 0 < global_batch_size <= num_train:
        raise ValueError(
            f"Expected a global batch size from 1 to {num_train}, the number "
            f"of training images of {name!r}; received {global_batch_size}."
        )
    features = builder.info.features
    rounding = math.floor if drop_remainder else math.ceil
    return Dataset(
        train=_train_pipeline(
            builder, name, global_batch_size, seed, drop_remainder
        ),
        test=_batched(
            builder.as_dataset(split="test", as_supervised=True),
            global_batch_size,
            drop_remainder=False,
        ),
        num_classes=features["label"].num_classes,
        image_shape=tuple(features["image"].shape),
        num_train=num_train,
        num_test=builder.info.splits["test"].num_examples,
        steps_per_epoch=rounding(num_train / global_batch_size),
    )


def _prepared_builder(name, data_dir):
    import tensorflow_datasets as tfds

    from conadv_tf.data import digits  # noqa: F401  Registers the builder.

    # Asking the public bucket for metadata costs seconds and a stack trace
    # where there is no network; newer versions do not ask by default.
    tfds.core.utils.gcs_utils._is_gcs_disabled = True
    tfds.disable_progress_bar()
    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR")
    builder = tfds.builder(_TFDS_NAMES.get(name, name), data_dir=data_dir)
    try:
        if name not in _EMBEDDED and not builder.is_prepared():
            _check_reachable(builder.url_infos)
        builder.download_and_prepare()
    except Exception as error:
        raise ValueError(
            f"Dataset {name!r} is not prepared in {builder.data_dir!r} and "
            f"could not be downloaded ({type(error).__name__}: {error}). On a "
            'machine with network run `python -c "import tensorflow_datasets '
            f"as tfds; tfds.builder('{name}').download_and_prepare()\"`, then "
            "pass the directory as data_dir."
        ) from error
    return builder


def _check_reachable(urls):
    """Raises an OSError at once where a download would retry for minutes.

    Args:
      urls: addresses that preparing a dataset downloads; may be empty.
    """
    for url in list(urls)[:1]:
        request = urllib.request.Request(url, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS).close()
        except urllib.error.HTTPError:
            pass  # The host answers; what it thinks of HEAD does not matter.


def _train_pipeline(builder, name, global_batch_size, seed, drop_remainder):
    dataset = builder.as_dataset(
        split="train", as_supervised=True, shuffle_files=False
    )
    # Decoded once: these sets fit in memory.
    dataset = dataset.cache()
    dataset = dataset.shuffle(
        min(builder.info.splits["train"].num_examples, _SHUFFLE_BUFFER),
        seed=seed,
        reshuffle_each_iteration=True,
    )
    if name in _AUGMENTATION:
        padding, mirror = _AUGMENTATION[name]
        # A seed for each image of each epoch, in order: augmentation does
        # not depend on how the map is scheduled.
        seeds = tf.data.Dataset.random(
            seed=seed, rerandomize_each_iteration=True
        ).batch(2, drop_remainder=True)
        dataset = tf.data.Dataset.zip((dataset, seeds)).map(
            lambda example, key: (
                _crop_and_mirror(example[0], key, padding, mirror),
                example[1],
            ),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
    return _batched(dataset, global_batch_size, drop_remainder)


def _crop_and_mirror(image, key, padding, mirror):
    shape = tf.shape(image)
    padded = tf.image.pad_to_bounding_box(
        image,
        padding,
        padding,
        shape[0] + 2 * padding,
        shape[1] + 2 * padding,
    )
    cropped = tf.image.stateless_random_crop(padded, image.shape, seed=key)
    if mirror:
        cropped = tf.image.stateless_random_flip_left_right(cropped, key + 1)
    return cropped


def _batched(dataset, global_batch_size, drop_remainder):
    def scale(images, labels):
        return tf.cast(images, tf.float32) / 255.0, labels

    dataset = dataset.batch(global_batch_size, drop_remainder=drop_remainder)
    dataset = dataset.map(scale, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.prefetch(2)
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.DATA
    )
    # Small sets in memory gain nothing from tuning, and the tuner can keep
    # the end of `fit` waiting for seconds.
    options.autotune.enabled = False
    return dataset.with_options(options)
