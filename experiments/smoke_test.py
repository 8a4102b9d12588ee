"""Scales a configuration down to a smoke test of minutes: `run.py --quick`.

Network, method, attack, augmentation, optimizer and precision stay the same;
images, batches and epochs become few. The digits and npz archives are used as
they are. Other datasets are replaced by noise in JPEG files of several sizes.
All results of a smoke test are marked as such and are not compared with
published accuracies.
"""

import dataclasses
import math
import pathlib
import tempfile

import numpy as np
import tensorflow as tf

from conadv_tf import paths
from experiments.start import StartConfig

NOTE = (
    "This is a smoke test (--quick). It shows that everything runs; its "
    "accuracies are not results and are not compared with published ones."
)
_CLASSES = 4
_IMAGES_PER_CLASS = {"train": 8, "test": 2}
_IMAGE_SIZE = 32
_BATCH_SIZE = 8


def prepare(config, earlier=None):
    """Returns the smoke test of a `RunConfig`; writes images if it needs any.

    The images are written to a new temporary folder.

    Args:
      config: a `RunConfig`.
      earlier: the `RunConfig` of the smoke test to continue, whose folder of
        images is used again; or None.
    """
    if not needs_images(config):
        return scale_down(config)
    folder = None
    if earlier is not None and earlier.smoke_test:
        _, _, folder = earlier.dataset.partition("folder:")
    folder = pathlib.Path(folder or tempfile.mkdtemp(prefix="smoke_test_"))
    write_images(folder)
    return scale_down(config, folder)


def needs_images(config):
    """Returns whether the smoke test of a `RunConfig` uses written images."""
    return config.dataset != "digits" and not _is_archive(config)


def _is_archive(config):
    return config.dataset.startswith("npz:")


def scale_down(config, folder=None):
    """Returns the smoke test of a `RunConfig`.

    It has one epoch of four batches, or of fewer and larger ones if otherwise
    no image of a batch would be attacked. On the digits it has all images, and
    a small ResNet has depth 8 and width 4. An attack that starts later has a
    second epoch, in which it has started.

    Args:
      config: a `RunConfig`.
      folder: path for the images of `write_images`, if it `needs_images`.
    """
    num_images = _CLASSES * _IMAGES_PER_CLASS["train"]
    replicas = 2 if config.emulate_replicas else 1
    # At least one image of each replica is attacked.
    batch_size = max(
        _BATCH_SIZE, replicas * math.ceil(1 / config.step.fraction)
    )
    changes = {
        "smoke_test": True,
        "epochs": 1,
        "attack": dataclasses.replace(
            config.attack,
            warmup_epochs=config.attack.warmup_epochs / config.epochs,
        ),
    }
    if config.conditions.is_delayed:
        changes["epochs"], changes["start"] = 2, StartConfig(epoch=1)
    if config.emulate_replicas:
        changes["emulate_replicas"] = replicas
        changes["per_replica_batch_size"] = batch_size // replicas
    if _is_archive(config):
        changes["train_images"] = min(
            num_images, config.train_images or num_images
        )
        changes["global_batch_size"] = batch_size
    elif needs_images(config):
        changes |= {
            "dataset": f"folder:{folder}",
            "data_dir": None,
            "image_size": _IMAGE_SIZE,
            "padding": None,
            "holdout": None,
            "train_images": None,
            "global_batch_size": batch_size,
        }
    elif config.network.name == "resnet_cifar":
        changes["network"] = dataclasses.replace(
            config.network, depth=8, width=4
        )
    return dataclasses.replace(config, **changes)


def write_images(folder):
    """Writes noise to JPEG files folder/{train,test}/class<n>/<number>.jpg.

    Files that exist are not replaced, because they may be a user's.
    """
    rng = np.random.default_rng(0)
    for split, count in _IMAGES_PER_CLASS.items():
        for label in range(_CLASSES):
            path = folder / split / f"class{label}"
            path.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                height, width = rng.integers(40, 80, 2)
                pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
                file = path / f"{number}.jpg"
                if not file.exists():
                    with paths.atomic_write(file) as temporary:
                        contents = tf.io.encode_jpeg(pixels).numpy()
                        temporary.write_bytes(contents)
