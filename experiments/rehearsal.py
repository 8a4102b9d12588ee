"""Shrinks a configuration to minutes on a laptop: `run.py --quick`.

Network, method, attack, augmentation, optimizer and precision stay; images,
batches and time shrink. Where the data would have to be downloaded, noise of
the same structure takes their place: JPEG files of several sizes in folders.
"""

import dataclasses
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

_CLASSES = 4
_IMAGES = {"train": 8, "test": 2}  # Of each class.
_IMAGE_SIZE = 32
_BATCH_SIZE = 8


def shrink(config, folder=None):
    """A `Config` that rehearses another.

    Args:
      config: a `Config`.
      folder: pathlib.Path of the made images, which are the same each time;
        None for a new temporary one.

    Returns:
      A `Config` of one epoch of four batches; for digits, of all digits and a
      quarter of the width.
    """
    config = dataclasses.replace(
        config,
        epochs=1,
        emulate_replicas=config.emulate_replicas and 2,
        per_replica_batch_size=config.per_replica_batch_size
        and _BATCH_SIZE // 2,
    )
    if config.dataset == "digits":
        network = dataclasses.replace(config.network, depth=8, width=4)
        return dataclasses.replace(config, network=network)
    if folder is None:
        folder = pathlib.Path(tempfile.mkdtemp(prefix="rehearsal_"))
    write_images(folder)
    return dataclasses.replace(
        config,
        dataset=f"folder:{folder}",
        image_size=_IMAGE_SIZE,
        global_batch_size=_BATCH_SIZE,
    )


def write_images(folder):
    """Writes noise as JPEGs: folder/train|test/class/number.jpg."""
    rng = np.random.default_rng(0)
    for split, count in _IMAGES.items():
        for label in range(_CLASSES):
            path = folder / split / f"class{label}"
            path.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                height, width = rng.integers(40, 80, 2)
                pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
                tf.io.write_file(
                    str(path / f"{number}.jpg"), tf.io.encode_jpeg(pixels)
                )
