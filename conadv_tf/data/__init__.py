"""Image classification sets, and augmentation of their images."""

from conadv_tf.data import policies
from conadv_tf.data.augmentation import augmentation
from conadv_tf.data.augmentation import MIXING
from conadv_tf.data.augmentation import NAMES as AUGMENTATIONS
from conadv_tf.data.autoaugment import auto_augment
from conadv_tf.data.datasets import Dataset
from conadv_tf.data.datasets import load
from conadv_tf.data.datasets import NAMES
from conadv_tf.data.faults import FaultLog
from conadv_tf.data.sharding import distribute

__all__ = [
    "AUGMENTATIONS",
    "MIXING",
    "NAMES",
    "Dataset",
    "FaultLog",
    "augmentation",
    "auto_augment",
    "distribute",
    "load",
    "policies",
]
