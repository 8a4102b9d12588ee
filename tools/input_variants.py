"""What benchmark_input.py compares: made photographs and input pipelines."""

import dataclasses
import functools
import importlib.util
from typing import Any

import numpy as np
from PIL import Image
import tensorflow as tf

from conadv_tf.data import datasets
from conadv_tf.data import pipelines
from conadv_tf.data import views
from conadv_tf.data.faults import FaultLog
from conadv_tf.data.folders import FolderSource
from conadv_tf.data.sharding import Share

REFERENCE = "photos: plain loop"
TWO_VIEWS = "photos: two views"
AUGMENTED = "photos: two views, AutoAugment"
# Height and width of the commonest ImageNet images.
_SIZES = ((375, 500), (500, 375), (333, 500), (500, 333), (400, 400))


@dataclasses.dataclass(frozen=True)
class ArraySource:
    """Images in memory, as a source of `pipelines.training`."""

    images: Any
    num_classes = 10
    shuffle_buffer = None

    @property
    def image_shape(self):
        """(height, width, channels)."""
        return self.images.shape[1:]

    @property
    def num_examples(self):
        """All of them are for training."""
        return {"train": len(self.images)}

    def records(self, part, share, seed):
        """Dataset of (image, label, name)."""
        del part, share, seed
        labels = np.zeros(len(self.images), np.int64)
        dataset = tf.data.Dataset.from_tensor_slices((self.images, labels))
        return dataset.map(lambda image, label: (image, label, ""))


def write_photos(folder, count):
    """Writes train and test folders of JPEGs of about 100 KB."""
    from sklearn.datasets import load_sample_images

    samples = load_sample_images().images
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for index in range(count):
            photo = Image.fromarray(samples[index % 2])
            height, width = _SIZES[index % len(_SIZES)]
            scale = rng.uniform(1.0, 1.3) * max(
                height / photo.height, width / photo.width
            )
            photo = photo.resize(
                (
                    int(np.ceil(photo.width * scale)),
                    int(np.ceil(photo.height * scale)),
                ),
                Image.BICUBIC,
            )
            left = rng.integers(0, photo.width - width + 1)
            top = rng.integers(0, photo.height - height + 1)
            photo = photo.crop((left, top, left + width, top + height))
            name = folder / part / ("china", "flower")[index % 2]
            name.mkdir(parents=True, exist_ok=True)
            photo.save(name / f"{index:04}.jpg", quality=95)


def make_variants(folder, flags):
    """{name: function without arguments that makes a dataset}."""
    source = FolderSource(folder)
    cifar = ArraySource(
        np.random.default_rng(0).integers(0, 256, (4096, 32, 32, 3), "uint8")
    )

    def photos(number, augment=None):
        view = views.random_views(
            flags.image_size, number, True, augment, tf.float32
        )
        return training(source, view, flags)

    def small(number, augment=None):
        view = views.shifted_views(4, True, number, augment)
        return training(cifar, view, flags)

    def evaluation():
        examples = pipelines.evaluation(
            source,
            Share(),
            views.central_view(flags.image_size, tf.float32),
            FaultLog(source.num_classes),
        )
        return batched(examples.repeat(), flags, False)

    def digits():
        data = datasets.load("digits", flags.batch_size)
        return data.train.repeat()

    variants = {
        REFERENCE: functools.partial(plain_loop, folder, flags),
        "photos: one view": functools.partial(photos, 1),
        TWO_VIEWS: functools.partial(photos, 2),
        "photos: evaluation": evaluation,
        "32x32: one view": functools.partial(small, 1),
        "32x32: two views": functools.partial(small, 2),
        "digits: one view": digits,
    }
    if importlib.util.find_spec("conadv_tf.data.autoaugment"):
        from conadv_tf.data.autoaugment import auto_augment

        augment = functools.partial(auto_augment, policy="imagenet")
        variants[AUGMENTED] = functools.partial(photos, 2, augment)
        variants["32x32: two views, AutoAugment"] = functools.partial(
            small, 2, augment
        )
    return variants


def plain_loop(folder, flags):
    """The reference: nothing is checked, named, mirrored or clipped."""

    def example(path, key):
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        top, left, height, width = tf.unstack(
            views.random_window(tf.shape(image), key)
        )
        image = image[top : top + height, left : left + width]
        size = [flags.image_size] * 2
        return tf.image.resize(image, size, "bicubic") / 255.0, 0

    paths = tf.data.Dataset.list_files(f"{folder}/train/*/*.jpg").cache()
    keys = tf.data.Dataset.random(seed=0).batch(2)
    dataset = tf.data.Dataset.zip((paths.repeat(), keys))
    dataset = dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(flags.batch_size, drop_remainder=True).prefetch(2)


def training(source, view, flags):
    """A training pipeline without end."""
    faults = FaultLog(source.num_classes)
    examples = pipelines.training(source, Share(), 0, view, faults)
    return batched(examples.repeat(), flags, source.image_shape is not None)


def batched(examples, flags, in_memory):
    """Batches as `load` makes them."""
    return pipelines.batched(
        examples,
        flags.batch_size,
        drop_remainder=True,
        dtype=tf.float32,
        sharded=False,
        in_memory=in_memory,
    )
