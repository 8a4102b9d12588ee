"""Measures the input pipeline: images per second, per core, and memory.

    python tools/benchmark_input.py --output_dir=runs/input
    python tools/benchmark_input.py --images=10000 --repeats=5

Needs no network connection: the photographs are crops of scikit-learn's two
sample images, scaled to typical sizes of ImageNet images. The pipelines are
timed in turns within one process, and the tables show medians over the
repeats. The reference, "plain loop", does the minimum that a tutorial would:
it reads and decodes each file, crops at random and resizes.

Writes rates.csv, memory.csv and input.png to --output_dir.
"""

import argparse
import functools
import os
import pathlib
import platform
import sys
import tempfile
import time

# Hides TensorFlow's start-up messages; set the variable yourself to see them.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Lets the script run from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

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
from experiments import plots

REFERENCE = "photos: plain loop"
AUGMENTED = "photos: two views, AutoAugment"
# (height, width) of the most common ImageNet images.
_SIZES = ((375, 500), (500, 375), (333, 500), (500, 333), (400, 400))
_MEMORY_SAMPLES = 10


def main():
    """Reads the flags, measures, and writes and prints the results."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--output_dir", default="runs/input")
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--files", type=int, default=64, help="JPEGs to write")
    parser.add_argument(
        "--batches", type=int, default=16, help="batches per measurement"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--images", type=int, default=2000, help="images to measure memory over"
    )
    flags = parser.parse_args()
    output = pathlib.Path(flags.output_dir)
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        write_photos(pathlib.Path(folder), flags.files)
        variants = make_variants(folder, flags)
        rates = measure_rates(variants, flags)
        memory = measure_memory(variants[AUGMENTED], flags)
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


def make_variants(folder, flags):
    """Returns the pipelines to compare.

    Args:
      folder: path that `write_photos` wrote to.
      flags: the parsed flags of this command.

    Returns:
      Dict from each name to a function without arguments that makes an endless
      dataset of batches.
    """
    source, size = FolderSource(folder), flags.image_size
    bad_records = BadRecords(source.num_classes)

    def batched(examples):
        return pipelines.batched(
            examples.repeat(),
            flags.batch_size,
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
        REFERENCE: functools.partial(plain_loop, folder, flags),
        "photos: one view": functools.partial(train, 1),
        "photos: two views": functools.partial(train, 2),
        "photos: evaluation": evaluation,
        AUGMENTED: functools.partial(train, 2, augment),
    }


def plain_loop(folder, flags):
    """Returns the reference, which checks, mirrors and clips nothing."""

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


# --- Measurements -----------------------------------------------------------


def measure_rates(variants, flags):
    """Times all pipelines in turns; returns the rows of rates.csv."""
    images = flags.batches * flags.batch_size
    times = {name: [] for name in variants}
    for name in tqdm.tqdm([*variants] * flags.repeats, "measurements"):
        times[name].append(_seconds(variants[name](), flags.batches))
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
                "repeats": flags.repeats,
                "images": images,
                "image_size": flags.image_size,
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


def measure_memory(make_dataset, flags):
    """Samples resident memory while the AutoAugment pipeline runs.

    Args:
      make_dataset: function that makes the dataset.
      flags: the parsed flags of this command.

    Returns:
      The rows of memory.csv, about `_MEMORY_SAMPLES` of them.
    """
    batches = flags.images // flags.batch_size
    every = max(1, batches // _MEMORY_SAMPLES)
    return [
        {
            "variant": AUGMENTED,
            "images": number * flags.batch_size,
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
    """Prints the rows of both CSV files as tables."""
    print(
        f"\n{'':36}{'images/s':>9}{'/ plain':>9}{'per core':>10}{'/ plain':>9}"
    )
    for row in rates:
        print(
            f"{row['variant']:36}{row['images_per_second']:9.0f}"
            f"{row['ratio_to_plain']:>9}{row['images_per_core_second']:10.0f}"
            f"{row['core_ratio_to_plain']:>9}"
        )
    print(f"\nMemory, {AUGMENTED}:")
    for row in memory:
        print(f"{row['images']:8} images {row['resident_mib']:8.0f} MiB")


if __name__ == "__main__":
    main()
