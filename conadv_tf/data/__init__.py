"""Datasets through tensorflow-datasets; see `datasets.load`."""

from conadv_tf.data.datasets import Dataset
from conadv_tf.data.datasets import load
from conadv_tf.data.datasets import NAMES

__all__ = ["NAMES", "Dataset", "load"]
