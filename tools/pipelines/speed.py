"""Measures input pipelines, for benchmark_input.py.

Importing this module imports TensorFlow, so the command does it after it has
checked its flags.
"""

import functools
import os
import pathlib
import platform
import tempfile
import time

from absl import flags
import numpy as np
from PIL import Image
import tensorflow as tf
import tqdm

from conadv_tf import csv_file
from conadv_tf.data import auto_augment
from conadv_tf.data import BadRecords
from conadv_tf.data import FolderSource
from conadv_tf.data import pipelines
from conadv_tf.data import Shard
from conadv_tf.data import views
from experiments import markdown_table
from experiments import plots

FLAGS = flags.FLAGS
REFERENCE = "photos: plain loop"
AUGMENTED = "photos: two views, AutoAugment"
# (height, width) of the most common ImageNet images.
_SIZES = ((375, 500), (500, 375), (333, 500), (500, 333), (400, 400))
_MEMORY_SAMPLES = 10


def run():
    """Reads the flags, measures, and writes and prints the results."""
    output = pathlib.Path(FLAGS.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write_photos(pathlib.Path(folder), FLAGS.files)
        variants = make_variants(folder)
        rates = measure_rates(variants)
        memory = measure_memory(variants[AUGMENTED])
    csv_file.write(output / "rates.csv", rates)
    csv_file.write(output / "memory.csv", memory)
    draw(rates, memory, output / "input.png")
    print_tables(rates, memory)


# --- Pipelines --------------------------------------------------------------


def write_photos(folder, count):
    """Writes train and test folders with `count` JPEGs of about 100 KB each."""
    from sklearn.datasets import load_sample_images

    samples = load_sample_images().images
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
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
            name = folder / split / ("china", "flower")[index % 2]
            name.mkdir(parents=True, exist_ok=True)
            photo.save(name / f"{index:04}.jpg", quality=95)


def make_variants(folder):
    """Returns the pipelines to compare.

    Args:
      folder: path that `write_photos` wrote to.

    Returns:
      Dict from each name to a function without arguments that makes an endless
      dataset of batches.
    """
    source, size = FolderSource(folder), FLAGS.image_size
    bad_records = BadRecords(source.num_classes)

    def batched(examples):
        return pipelines.batched(
            examples.repeat(),
            FLAGS.batch_size,
            drop_remainder=True,
            dtype=tf.float32,
            sharded=False,
            in_memory=False,
        )

    def train(number, augment=None):
        view = views.random_views(size, number, True, augment, tf.float32)
        return batched(
            pipelines.training(source, Shard(), 0, view, bad_records)
        )

    def evaluation():
        view = views.central_view(size, tf.float32)
        return batched(pipelines.evaluation(source, Shard(), view, bad_records))

    augment = functools.partial(auto_augment, policy="imagenet")
    return {
        REFERENCE: functools.partial(plain_loop, folder),
        "photos: one view": functools.partial(train, 1),
        "photos: two views": functools.partial(train, 2),
        "photos: evaluation": evaluation,
        AUGMENTED: functools.partial(train, 2, augment),
    }


def plain_loop(folder):
    """Returns the reference, which checks, mirrors and clips nothing."""

    def example(path, key):
        image = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        window = views.random_window(tf.shape(image), key)
        top, left, height, width = tf.unstack(window)
        image = image[top : top + height, left : left + width]
        size = [FLAGS.image_size] * 2
        return tf.image.resize(image, size, "bicubic") / 255.0, 0

    paths = tf.data.Dataset.list_files(f"{folder}/train/*/*.jpg").cache()
    keys = tf.data.Dataset.random(seed=0).batch(2)
    dataset = tf.data.Dataset.zip((paths.repeat(), keys))
    dataset = dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(FLAGS.batch_size, drop_remainder=True).prefetch(2)


# --- Measurements -----------------------------------------------------------


def measure_rates(variants):
    """Times all pipelines in turns; returns the rows of rates.csv."""
    images = FLAGS.batches * FLAGS.batch_size
    times = {name: [] for name in variants}
    for name in tqdm.tqdm([*variants] * FLAGS.repeats, "measurements"):
        times[name].append(_seconds(variants[name](), FLAGS.batches))
    rates = {name: images / np.array(pairs) for name, pairs in times.items()}
    rows = []
    for name in variants:
        rate, core_rate = np.median(rates[name], axis=0)
        # Ratios are taken within each repeat, because machines drift.
        ratio, core_ratio = np.median(rates[name] / rates[REFERENCE], axis=0)
        rows.append(
            {
                "variant": name,
                "images_per_second": round(rate, 1),
                "lowest": round(rates[name][:, 0].min(), 1),
                "highest": round(rates[name][:, 0].max(), 1),
                "images_per_core_second": round(core_rate, 1),
                "ratio_to_plain": round(ratio, 3),
                "core_ratio_to_plain": round(core_ratio, 3),
                "repeats": FLAGS.repeats,
                "images": images,
                "image_size": FLAGS.image_size,
                "cores": os.cpu_count(),
                "tensorflow": tf.__version__,
                "python": platform.python_version(),
            }
        )
    return rows


def _seconds(dataset, batches):
    """Wall-clock and processor seconds for some batches of a dataset."""
    iterator = iter(dataset)
    # Lets the pipeline start, tune itself and fill its buffers.
    for _ in range(max(4, batches // 4)):
        next(iterator)
    wall, core = time.perf_counter(), time.process_time()
    for _ in range(batches):
        next(iterator)
    return time.perf_counter() - wall, time.process_time() - core


def measure_memory(make_dataset):
    """Samples resident memory while the AutoAugment pipeline runs.

    Args:
      make_dataset: function that makes the dataset.

    Returns:
      The rows of memory.csv, about `_MEMORY_SAMPLES` of them.
    """
    batches = FLAGS.images // FLAGS.batch_size
    every = max(1, batches // _MEMORY_SAMPLES)
    return [
        {
            "variant": AUGMENTED,
            "images": number * FLAGS.batch_size,
            "resident_mib": round(_resident_mib(), 1),
        }
        for number, _ in enumerate(make_dataset().take(batches), 1)
        if number % every == 0
    ]


def _resident_mib():
    """Resident memory of this process in MiB; needs Linux."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


# --- Results ----------------------------------------------------------------


def draw(rates, memory, path):
    """Draws the rates as bars and the memory as a line."""
    figure, ((left, right),) = plots.subplots(1, 2, width=5.5, height=3.6)
    names = [row["variant"].split(": ")[1] for row in rates]
    left.barh(names, [row["images_per_second"] for row in rates])
    left.invert_yaxis()
    left.set_xlabel(f"images per second, {os.cpu_count()} cores")
    resident = [row["resident_mib"] for row in memory]
    right.plot([row["images"] for row in memory], resident, marker="o")
    right.set_ylim(0, 1.2 * max(resident))
    right.set_xlabel("images")
    right.set_ylabel("resident memory, MiB")
    right.set_title(AUGMENTED, fontsize=9)
    figure.savefig(path)


def print_tables(rates, memory):
    """Prints the main columns of both CSV files."""
    columns = (
        *("variant", "images_per_second", "ratio_to_plain"),
        *("images_per_core_second", "core_ratio_to_plain"),
    )
    for header, rows in ((columns, rates), (list(memory[0]), memory)):
        texts = ([str(row[column]) for column in header] for row in rows)
        print("\n" + markdown_table.table(header, texts))
