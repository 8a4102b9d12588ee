"""One interface to image classification sets: tfds, folders, arrays."""

import dataclasses
import math
from typing import Any
from typing import Optional
from typing import Union

import numpy as np
import tensorflow as tf

from conadv_tf.data import archives
from conadv_tf.data.arrays import ArraySource
from conadv_tf.data.bad_records import BadRecords
from conadv_tf.data.folders import FolderSource
from conadv_tf.data.pipelines import batched
from conadv_tf.data.pipelines import evaluation
from conadv_tf.data.pipelines import Source
from conadv_tf.data.pipelines import training
from conadv_tf.data.records import TfdsSource
from conadv_tf.data.sharding import host_batch_size
from conadv_tf.data.sharding import share_of
from conadv_tf.data.views import Augment
from conadv_tf.data.views import central_view
from conadv_tf.data.views import random_views
from conadv_tf.data.views import shifted_views
from conadv_tf.data.views import View

# Sets whose views are settled; `load` also takes any other of tfds and
# folder:PATH and npz:PATH.
NAMES = ("digits", "cifar10", "cifar100", "imagenet2012")
_FOLDER = "folder:"
_ARCHIVE = "npz:"
_IMAGE_SIZE = 224
# Zero padding around a small training image before its random crop, and
# whether its mirror image is of the same class.
_SHIFTS = {"digits": (0, False), "cifar10": (4, True), "cifar100": (4, True)}
_DTYPES = ("float32", "bfloat16")
_Pair = tuple[np.ndarray, np.ndarray]  # (images, labels).


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset ready for `model.fit`, and what one must know about it.

    train: batches (images [batch, height, width, channels] in [0, 1], labels
      int64 [batch]), one epoch, shuffled anew in each. With two views, images
      are a pair (clean view, augmented view).
    test: batches of one view, in order, last batch smaller.
    image_shape: (height, width, channels).
    num_train, num_test: examples on all hosts together.
    steps_per_epoch: training batches of each host.
    class_names: str, by class number.
    faults: `BadRecords` of what was wrong with which record so far.
    """

    train: Any
    test: Any
    num_classes: int
    image_shape: tuple[int, int, int]
    num_train: int
    num_test: int
    steps_per_epoch: int
    class_names: tuple[str, ...]
    faults: BadRecords


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
    """Loads a dataset, preparing it first where that is possible.

    Small images of one size are shifted and mirrored for training (digits:
    neither) and evaluated as they are. Images of any size are cropped at
    random (8 to 100% of the area), mirrored and resized for training; for
    evaluation the centre is cropped.

    Args:
      name: one of `NAMES`; any image classification set of
        tensorflow-datasets, "name" or "name/config"; "folder:PATH", see
        `FolderSource`; "npz:PATH", an archive of the arrays x_train, y_train,
        x_test and y_test; or ((x_train, y_train), (x_test, y_test)), as
        Keras's `load_data` returns them, see `ArraySource`. "digits" is
        embedded: no network is touched.
      global_batch_size: images per step over all replicas.
      seed: int; the same seed gives the same epochs, for one value of
        `tf.random.set_seed`, which tf.data adds to every seed.
      data_dir: directory (or bucket) of prepared datasets; None is the
        environment variable TFDS_DATA_DIR or ~/tensorflow_datasets. For
        these only.
      drop_remainder: whether to leave out a last smaller training batch, so
        that shapes are static (XLA, TPUs).
      image_size: height and width of what the network sees. None: 224, or
        the images' own size where all have one. Given for such a set of
        tensorflow-datasets, it asks for crops as of ImageNet; arrays are
        resized as a whole, once (`views.resize_whole`).
      views: 1; or 2 training views of each image, cropped and mirrored
        independently.
      augment: None, or a function of (uint8 image [height, width, channels],
        int64 seed [2]) that returns an image like it; applied to the last
        training view, after crop, resizing and mirroring.
      mirror: whether half of the training images are mirrored. None: for
        cifar and for images of any size, but for no other small set.
      padding: zeros around a small training image before a window of its
        size is cut out; 0 leaves it as it is. None: 4 for cifar, 0 for
        digits, an eighth of the height for others. Not for images of any
        size.
      dtype: "float32" or "bfloat16", of the images.
      holdout: fraction of the training images, in (0, 1), that is the test
        set where there is none; else None.
      validation_fraction: fraction of the training images, in (0, 1), that
        takes the place of the test set, which is not read, to choose
        hyper-parameters by; None: the test set. Of tensorflow-datasets the
        last in stored order (digits: other writers than most of the rest),
        of folders those of each class that its file names choose, of arrays
        the last of each class.
      train_images: number of training images, as many of each class as of
        any other, which the seed chooses; part of a larger number's. The rest
        is not there, for validation_fraction too. Of tensorflow-datasets all
        records are read, once for their labels and then to skip the others.
        None: all.
      max_bad_records: how many records that cannot be decoded or have no
        valid label are skipped; see `Dataset.faults`. Others are drawn a
        second time in their place.
      num_replicas: replicas that share a batch, to check that they can.
      input_context: a `tf.distribute.InputContext`; this host then reads its
        share only, in batches of global_batch_size / num_input_pipelines;
        see `sharding.distribute`. None: everything.

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
    source = _open(
        name,
        data_dir,
        image_size,
        holdout=holdout,
        validation_fraction=validation_fraction,
        train_images=train_images,
        seed=seed,
    )
    if not isinstance(name, str):
        name = "arrays"
    num_train = source.num_examples["train"]
    if not 0 < global_batch_size <= num_train:
        raise ValueError(
            f"Expected a global batch size from 1 to {num_train}, the number "
            f"of training images of {name!r}; received {global_batch_size}."
        )
    share = share_of(input_context)
    if input_context is not None:
        num_replicas = input_context.num_replicas_in_sync
    batch_size = host_batch_size(global_batch_size, num_replicas, share.count)
    faults = BadRecords(source.num_classes, max_bad_records)
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
        usual = _SHIFTS.get(name, (source.image_shape[0] // 8, False))
        view = shifted_views(
            usual[0] if padding is None else padding,
            usual[1] if mirror is None else mirror,
            views,
            augment,
        )
    train = training(source, share, seed, view, faults)
    test = evaluation(source, share, central_view(image_size, dtype), faults)
    rounding = math.floor if drop_remainder else math.ceil
    steps = rounding(num_train / global_batch_size)
    sharded = input_context is not None
    in_memory = not (source.image_shape is None or source.shuffle_buffer)
    train, test = (
        batched(part, batch_size, drop, dtype, sharded, in_memory, same)
        for part, drop, same in (
            (train, drop_remainder, False),
            (test, False, True),
        )
    )
    # A host with one example more than others must not make one step more:
    # they would wait for each other.
    train = train.take(steps).apply(
        tf.data.experimental.assert_cardinality(
            min(steps, rounding(share.size(num_train) / batch_size))
        )
    )
    if not max_bad_records:
        test = test.apply(
            tf.data.experimental.assert_cardinality(
                math.ceil(share.size(source.num_examples["test"]) / batch_size)
            )
        )
    return Dataset(
        train=train,
        test=test,
        num_classes=source.num_classes,
        image_shape=source.image_shape or (image_size, image_size, 3),
        num_train=num_train,
        num_test=source.num_examples["test"],
        steps_per_epoch=steps,
        class_names=tuple(source.class_names),
        faults=faults,
    )


def _open(
    name: Union[str, tuple[_Pair, _Pair]],
    data_dir: Optional[str],
    image_size: Optional[int],
    **parts: Any,
) -> Source:
    """The source of a dataset; `parts` divides it into training and test."""
    label = name if isinstance(name, str) else "arrays"
    if isinstance(name, str) and not name.startswith((_FOLDER, _ARCHIVE)):
        return TfdsSource(
            name, data_dir, encoded=image_size is not None, **parts
        )
    if data_dir is not None:
        raise ValueError(
            "Expected data_dir with a dataset of tensorflow-datasets only; "
            f"received {data_dir!r} and {label!r}, whose place is known."
        )
    if isinstance(name, str) and name.startswith(_FOLDER):
        return FolderSource(name[len(_FOLDER) :], **parts)
    if isinstance(name, str):
        arrays = archives.read(name[len(_ARCHIVE) :])
    else:
        arrays = archives.of_load_data(name)
    return ArraySource(label, arrays, image_size=image_size, **parts)


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
