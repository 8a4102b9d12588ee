"""Image classification datasets, and augmentation of their images.

Start with `load`, together with `auto_augment` or `augmentation`, `resume_at`
and `distribute`. Build other input pipelines from `ArraySource`,
`FolderSource`, `Splits`, `BadRecords`, `Shard` and the modules `pipelines` and
`views`. The module `policies` has the AutoAugment policies as data.
"""

from conadv_tf.data import pipelines
from conadv_tf.data import policies
from conadv_tf.data import views
from conadv_tf.data.arrays import ArraySource
from conadv_tf.data.augmentation import augmentation
from conadv_tf.data.augmentation import MIXING
from conadv_tf.data.augmentation import NAMES as AUGMENTATIONS
from conadv_tf.data.autoaugment import auto_augment
from conadv_tf.data.bad_records import BadRecords
from conadv_tf.data.datasets import Dataset
from conadv_tf.data.datasets import load
from conadv_tf.data.datasets import NAMES
from conadv_tf.data.folders import FolderSource
from conadv_tf.data.resume import resume_at
from conadv_tf.data.sharding import distribute
from conadv_tf.data.sharding import Shard
from conadv_tf.data.source import Source
from conadv_tf.data.splitting import Splits

__all__ = [
    "AUGMENTATIONS",
    "MIXING",
    "NAMES",
    "ArraySource",
    "BadRecords",
    "Dataset",
    "FolderSource",
    "Shard",
    "Source",
    "Splits",
    "augmentation",
    "auto_augment",
    "distribute",
    "load",
    "pipelines",
    "policies",
    "resume_at",
    "views",
]
