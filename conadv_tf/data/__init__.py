"""Image classification sets; see `datasets.load`."""

from conadv_tf.data.datasets import Dataset
from conadv_tf.data.datasets import load
from conadv_tf.data.datasets import NAMES
from conadv_tf.data.faults import FaultLog
from conadv_tf.data.sharding import distribute

__all__ = ["NAMES", "Dataset", "FaultLog", "distribute", "load"]
