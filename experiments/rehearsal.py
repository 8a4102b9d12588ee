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


def rehearse(config):
    """A `Config` that rehearses another, with images in a temporary folder."""
    if not needs_images(config):
        return shrink(config, None)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="rehearsal_"))
    write_images(folder)
    return shrink(config, folder)


def needs_images(config):
    """Whether a rehearsal takes made images; digits are small as they are."""
    return config.dataset != "digits"


def shrink(config, folder):
    """A `Config` that rehearses another.

    Args:
      config: a `Config`.
      folder: pathlib.Path for what `write_images` makes.

    Returns:
      A `Config` of one epoch of four batches; for digits, of all digits and,
      with their own network, a quarter of the width. An attack that sets in
      late does so after as large a part of the run.
    """
    config = dataclasses.replace(
        config,
        epochs=1,
        emulate_replicas=config.emulate_replicas and 2,
        per_replica_batch_size=config.per_replica_batch_size
        and _BATCH_SIZE // 2,
        attack=dataclasses.replace(
            config.attack,
            start_epoch=config.attack.start_epoch / config.epochs,
            warmup_epochs=config.attack.warmup_epochs / config.epochs,
        ),
    )
    if not needs_images(config):
        network = config.network
        if network.name == "resnet_cifar":
            network = dataclasses.replace(network, depth=8, width=4)
        return dataclasses.replace(config, network=network)
    return dataclasses.replace(
        config,
        dataset=f"folder:{folder}",
        data_dir=None,
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
