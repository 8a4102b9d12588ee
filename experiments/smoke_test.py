"""Shrinks a configuration to minutes on a laptop: `run.py --quick`.

Network, method, attack, augmentation, optimizer and precision stay; images,
batches and time shrink. Digits and archives of arrays are taken as they are;
elsewhere noise takes the images' place: JPEG files of several sizes in folders.
What comes out says that it is a rehearsal, and is compared with nothing that
was published.
"""

import dataclasses
import math
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

NOTE = (
    "A rehearsal (--quick): it shows that everything runs. Its accuracies are "
    "no results, and are compared with nothing that was published."
)
_CLASSES = 4
_IMAGES = {"train": 8, "test": 2}  # Of each class.
_IMAGE_SIZE = 32
_BATCH_SIZE = 8


def smoke_test(config):
    """A `Config` that rehearses another, with images in a temporary folder."""
    if not needs_images(config):
        return shrink(config, None)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="rehearsal_"))
    write_images(folder)
    return shrink(config, folder)


def needs_images(config):
    """Whether a rehearsal takes made images."""
    return config.dataset != "digits" and not _is_archive(config)


def _is_archive(config):
    return config.dataset.startswith("npz:")


def shrink(config, folder):
    """A `Config` that rehearses another.

    Args:
      config: a `Config`.
      folder: path for what `write_images` makes.

    Returns:
      A `Config` of one epoch of four batches, of fewer where a fraction of
      one would be no image; for digits, of all digits and, with their own
      network, a quarter of the width. An attack that sets in late does so
      after as large a part of the run.
    """
    replicas = 2 if config.emulate_replicas else 1
    # Of each replica one image at least is attacked.
    batch_size = max(
        _BATCH_SIZE, replicas * math.ceil(1 / config.adversarial_fraction)
    )
    config = dataclasses.replace(
        config,
        rehearsal=True,
        epochs=1,
        emulate_replicas=config.emulate_replicas and 2,
        per_replica_batch_size=config.per_replica_batch_size
        and batch_size // 2,
        attack=dataclasses.replace(
            config.attack,
            start_epoch=config.attack.start_epoch / config.epochs,
            warmup_epochs=config.attack.warmup_epochs / config.epochs,
        ),
    )
    made = _CLASSES * _IMAGES["train"]
    if _is_archive(config):
        return dataclasses.replace(
            config,
            train_images=min(made, config.train_images or made),
            global_batch_size=batch_size,
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
        padding=None,
        train_images=None,
        global_batch_size=batch_size,
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
