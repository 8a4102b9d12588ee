"""One interface to image classification datasets: tfds, folders, arrays."""

import dataclasses
import functools
import math
import os
from typing import Any
from typing import Optional
from typing import Union

import numpy as np
import tensorflow as tf

from conadv_tf.data import archives
from conadv_tf.data import pipelines
from conadv_tf.data import sharding
from conadv_tf.data.arrays import ArraySource
from conadv_tf.data.bad_records import BadRecords
from conadv_tf.data.folders import FolderSource
from conadv_tf.data.source import Source
from conadv_tf.data.splitting import Splits
from conadv_tf.data.tfds_source import TfdsSource
from conadv_tf.data.views import Augment
from conadv_tf.data.views import central_view
from conadv_tf.data.views import random_views
from conadv_tf.data.views import shifted_views
from conadv_tf.data.views import View
from conadv_tf.paths import as_path

# Datasets with default views. `load` also takes any other name of
# tensorflow-datasets, folder:PATH and npz:PATH.
NAMES = ("digits", "cifar10", "cifar100", "imagenet2012")
_FOLDER = "folder:"
_ARCHIVE = "npz:"
_IMAGE_SIZE = 224
# Zero padding around a small training image before its random crop, and
# whether its mirror image belongs to the same class.
_SHIFTS = {"digits": (0, False), "cifar10": (4, True), "cifar100": (4, True)}
_DTYPES = ("float32", "bfloat16")
_Pair = tuple[np.ndarray, np.ndarray]  # (images, labels).


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset ready for `model.fit`, and its properties.

    Attributes:
      train: batches (images [batch, height, width, channels] in [0, 1], labels
        int64 [batch]), one epoch, reshuffled in each epoch. With two views,
        images are a pair (clean view, augmented view).
      test: batches of one view, in order; the last batch may be smaller.
      num_classes: number of classes.
      image_shape: (height, width, channels).
      num_train: training examples, counted over all hosts.
      num_test: test examples, counted over all hosts.
      steps_per_epoch: training batches of each host.
      class_names: str, indexed by class number.
      bad_records: `BadRecords` with the problems found so far.
      source: the `Source` of the records. After a `tf.errors.DataLossError`,
        `source.check_files()` names the damaged file.
    """

    train: Any
    test: Any
    num_classes: int
    image_shape: tuple[int, int, int]
    num_train: int
    num_test: int
    steps_per_epoch: int
    class_names: tuple[str, ...]
    bad_records: BadRecords
    source: Source


def load(
    name: Union[str, tuple[_Pair, _Pair]] = "digits",
    global_batch_size: int = 128,
    seed: int = 0,
    data_dir: Optional[str] = None,
    drop_remainder: bool = True,
    *,
    image_size: Optional[int] = None,
    views: int = 1,
    augment: Optional[Augment] = None,
    mirror: Optional[bool] = None,
    padding: Optional[int] = None,
    dtype: str = "float32",
    holdout: Optional[float] = None,
    validation_fraction: Optional[float] = None,
    train_images: Optional[int] = None,
    max_bad_records: int = 0,
    num_replicas: int = 1,
    input_context: Optional[tf.distribute.InputContext] = None,
) -> Dataset:
    """Loads a dataset, and prepares it first if possible.

    Small images of one size are shifted and mirrored for training (digits are
    not) and evaluated as they are. Images of any size are cropped at random (8
    to 100% of the area), mirrored and resized for training; for evaluation the
    centre is cropped.

    Args:
      name: one of `NAMES`; any image classification dataset of
        tensorflow-datasets, "name" or "name/config"; "folder:PATH" (see
        `FolderSource`); "npz:PATH", an archive of the arrays x_train, y_train,
        x_test and y_test; or ((x_train, y_train), (x_test, y_test)), as
        returned by Keras's `load_data` (see `ArraySource`). "digits" is
        embedded and needs no network.
      global_batch_size: images per step over all replicas.
      seed: int; the same seed gives the same epochs, for one value of
        `tf.random.set_seed`, which tf.data adds to every seed.
      data_dir: directory (or bucket) of prepared tensorflow-datasets; None is
        the environment variable TFDS_DATA_DIR or ~/tensorflow_datasets. Must be
        None for folders and arrays.
      drop_remainder: whether to drop a smaller last training batch, so that
        shapes are static (XLA, TPUs).
      image_size: height and width of the network's input. None: 224, or the
        images' own size if all have the same. If it is given for
        tensorflow-datasets images of one size, they are cropped and resized
        like ImageNet. Arrays are resized as a whole, once
        (`views.resize_whole`).
      views: 1; or 2 training views of each image, cropped and mirrored
        independently.
      augment: None, or a function of (uint8 image [height, width, channels],
        int64 seed [2]) that returns an image of the same shape and dtype;
        applied to the last training view, after crop, resizing and mirroring.
      mirror: whether half of the training images are mirrored. None: for cifar
        and for images of any size, but for no other small images.
      padding: zeros around a small training image before a window of its size
        is cut out; 0 leaves it as it is. None: 4 for cifar, 0 for digits, an
        eighth of the height for others. Must be None for images of any size.
      dtype: "float32" or "bfloat16", of the images.
      holdout: fraction of the training images, in (0, 1), to hold out as the
        test set of a dataset without one; else None.
      validation_fraction: fraction of the training images, in (0, 1), that
        replaces the test set, which is not read, for choosing hyper-parameters;
        None keeps the test set. tensorflow-datasets: the last images in stored
        order (for digits, by other writers than most of the rest); folders:
        images of each class, chosen by their file names; arrays: the last
        images of each class.
      train_images: number of training images, equally many of each class,
        chosen by the seed; a smaller number chooses part of a larger one. The
        remaining images are discarded before `validation_fraction` is applied.
        For tensorflow-datasets all records are read, once for their labels and
        then to skip the others. None keeps all.
      max_bad_records: number of records to skip that cannot be decoded or have
        no valid label; `Dataset.bad_records` lists them. Other records are
        drawn a second time in their place.
      num_replicas: replicas that share a batch; the batch size must be
        divisible by it.
      input_context: a `tf.distribute.InputContext`; this host then reads only
        its shard, in batches of global_batch_size / num_input_pipelines (see
        `sharding.distribute`). None reads everything.

    Returns:
      A `Dataset`.

    Raises:
      ValueError: if the name is unknown, the training set is smaller than one
        batch, replicas cannot share a batch, the data are not prepared and
        cannot be downloaded, or another argument is not as described.

    Example:
      >>> digits = ca.data.load("digits", global_batch_size=128)
      >>> digits.num_train, digits.num_test, digits.steps_per_epoch
      (1297, 500, 10)
      >>> images, labels = next(iter(digits.train))
      >>> images.shape, labels.shape
      (TensorShape([128, 8, 8, 1]), TensorShape([128]))
    """
    _check_options(views, dtype, image_size, padding)
    splits = Splits(holdout, validation_fraction, train_images, seed)
    source = _open(name, data_dir, image_size, splits)
    if not isinstance(name, str):
        name = "arrays"
    num_train, num_test = (source.num_examples[s] for s in ("train", "test"))
    if not 0 < global_batch_size <= num_train:
        raise ValueError(
            f"Expected a global batch size from 1 to {num_train}, the number "
            f"of training images of {name!r}; received {global_batch_size}."
        )
    shard = sharding.shard_of(input_context)
    if input_context is not None:
        num_replicas = input_context.num_replicas_in_sync
    batch_size = sharding.host_batch_size(
        global_batch_size, num_replicas, shard.count
    )
    image_size = image_size or _IMAGE_SIZE
    view: Optional[View]
    if source.image_shape is None:
        if padding is not None:
            raise ValueError(
                "Expected padding=None for images of any size, which are "
                f"cropped at random; received {padding}."
            )
        view = random_views(
            image_size, views, mirror is not False, augment, dtype
        )
    else:
        default = _SHIFTS.get(name, (source.image_shape[0] // 8, False))
        view = shifted_views(
            default[0] if padding is None else padding,
            default[1] if mirror is None else mirror,
            views,
            augment,
        )
    bad_records = BadRecords(source.num_classes, max_bad_records)
    batch = functools.partial(
        pipelines.batched,
        batch_size=batch_size,
        dtype=dtype,
        sharded=input_context is not None,
        in_memory=not (source.image_shape is None or source.shuffle_buffer),
    )
    train = batch(
        pipelines.training(source, shard, seed, view, bad_records),
        drop_remainder=drop_remainder,
    )
    test = batch(
        pipelines.evaluation(
            source, shard, central_view(image_size, dtype), bad_records
        ),
        drop_remainder=False,
        same_each_epoch=True,
    )
    # A host with one more example than others must not make one more step:
    # hosts wait for each other.
    rounded = math.floor if drop_remainder else math.ceil
    steps = rounded(num_train / global_batch_size)
    host_steps = min(steps, rounded(shard.size(num_train) / batch_size))
    with_cardinality = tf.data.experimental.assert_cardinality
    train = train.take(steps).apply(with_cardinality(host_steps))
    if not max_bad_records:
        test_steps = math.ceil(shard.size(num_test) / batch_size)
        test = test.apply(with_cardinality(test_steps))
    return Dataset(
        train=train,
        test=test,
        num_classes=source.num_classes,
        image_shape=source.image_shape or (image_size, image_size, 3),
        num_train=num_train,
        num_test=num_test,
        steps_per_epoch=steps,
        class_names=tuple(source.class_names),
        bad_records=bad_records,
        source=source,
    )


def _open(
    name: Union[str, tuple[_Pair, _Pair]],
    data_dir: Optional[str],
    image_size: Optional[int],
    splits: Splits,
) -> Source:
    if isinstance(name, str) and not name.startswith((_FOLDER, _ARCHIVE)):
        return TfdsSource(name, data_dir, splits, image_size is not None)
    label = name if isinstance(name, str) else "arrays"
    if data_dir is not None:
        raise ValueError(
            f"Expected data_dir=None with {label!r}, because only datasets of "
            f"tensorflow-datasets are looked for there; received {data_dir!r}."
        )
    if label.startswith(_FOLDER):
        return FolderSource(label.removeprefix(_FOLDER), splits)
    if isinstance(name, str):
        path = as_path(name.removeprefix(_ARCHIVE))
        arrays = archives.read(os.fspath(path))
    else:
        arrays = archives.from_load_data(name)
    return ArraySource(label, arrays, splits, image_size)


def _check_options(
    views: int, dtype: str, image_size: Optional[int], padding: Optional[int]
) -> None:
    if views not in (1, 2):
        raise ValueError(f"Expected views to be 1 or 2; received {views!r}.")
    if dtype not in _DTYPES:
        raise ValueError(
            f"Expected a dtype among {_DTYPES}; received {dtype!r}."
        )
    if image_size is not None and image_size < 1:
        raise ValueError(f"Expected image_size >= 1; received {image_size}.")
    if padding is not None and padding < 0:
        raise ValueError(f"Expected padding >= 0; received {padding}.")
