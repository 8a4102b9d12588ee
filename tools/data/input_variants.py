"""What benchmark_input.py compares: made photographs and input pipelines."""

import functools

import numpy as np
from PIL import Image
import tensorflow as tf

from conadv_tf.data import auto_augment
from conadv_tf.data import BadRecords
from conadv_tf.data import FolderSource
from conadv_tf.data import pipelines
from conadv_tf.data import Share
from conadv_tf.data import views

REFERENCE = "photos: plain loop"
AUGMENTED = "photos: two views, AutoAugment"
# Height and width of the commonest ImageNet images.
_SIZES = ((375, 500), (500, 375), (333, 500), (500, 333), (400, 400))


def write_photos(folder, count):
    """Writes train and test folders of JPEGs of about 100 KB."""
    from sklearn.datasets import load_sample_images

    samples = load_sample_images().images
    rng = np.random.default_rng(0)
    for part in ("train", "test"):
        for index in range(count):
            photo = Image.fromarray(samples[index % 2])
            height, width = _SIZES[index % len(_SIZES)]
            least = max(height / photo.height, width / photo.width)
            scale = rng.uniform(1.0, 1.3) * least
            size = [int(np.ceil(side * scale)) for side in photo.size]
            photo = photo.resize(size, Image.BICUBIC)
            left = rng.integers(0, photo.width - width + 1)
            top = rng.integers(0, photo.height - height + 1)
            photo = photo.crop((left, top, left + width, top + height))
            name = folder / part / ("china", "flower")[index % 2]
            name.mkdir(parents=True, exist_ok=True)
            photo.save(name / f"{index:04}.jpg", quality=95)


def make_variants(folder, flags):
    """{name: function without arguments that makes a dataset}.

    Args:
      folder: path that `write_photos` wrote to.
      flags: those of benchmark_input.py.
    """
    source, size = FolderSource(folder), flags.image_size
    faults = BadRecords(source.num_classes)

    def train(number, augment=None):
        view = views.random_views(size, number, True, augment, tf.float32)
        examples = pipelines.training(source, Share(), 0, view, faults)
        return batched(examples, flags)

    def evaluation():
        view = views.central_view(size, tf.float32)
        examples = pipelines.evaluation(source, Share(), view, faults)
        return batched(examples, flags)

    augment = functools.partial(auto_augment, policy="imagenet")
    return {
        REFERENCE: functools.partial(plain_loop, folder, flags),
        "photos: one view": functools.partial(train, 1),
        "photos: two views": functools.partial(train, 2),
        "photos: evaluation": evaluation,
        AUGMENTED: functools.partial(train, 2, augment),
    }


def plain_loop(folder, flags):
    """The reference: nothing is checked, named, mirrored or clipped."""

    def example(path, key):
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        window = views.random_window(tf.shape(image), key)
        top, left, height, width = tf.unstack(window)
        image = image[top : top + height, left : left + width]
        size = [flags.image_size] * 2
        return tf.image.resize(image, size, "bicubic") / 255.0, 0

    paths = tf.data.Dataset.list_files(f"{folder}/train/*/*.jpg").cache()
    keys = tf.data.Dataset.random(seed=0).batch(2)
    dataset = tf.data.Dataset.zip((paths.repeat(), keys))
    dataset = dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(flags.batch_size, drop_remainder=True).prefetch(2)


def batched(examples, flags):
    """Batches without end, as `load` makes them."""
    return pipelines.batched(
        examples.repeat(),
        flags.batch_size,
        drop_remainder=True,
        dtype=tf.float32,
        sharded=False,
        in_memory=False,
    )
