"""Image classification sets, and augmentation of their images.

`load` is what users call, with `auto_augment` or `augmentation`, `resume_at`
and `distribute`. `ArraySource`, `FolderSource`, `BadRecords`, `Share` and the
modules `pipelines` and `views` are what it is made of, for other pipelines;
`policies` are those of AutoAugment as data.
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
from conadv_tf.data.position import resume_at
from conadv_tf.data.sharding import distribute
from conadv_tf.data.sharding import Share

__all__ = [
    "AUGMENTATIONS",
    "MIXING",
    "NAMES",
    "ArraySource",
    "Dataset",
    "BadRecords",
    "FolderSource",
    "Share",
    "augmentation",
    "auto_augment",
    "distribute",
    "load",
    "pipelines",
    "policies",
    "resume_at",
    "views",
]
