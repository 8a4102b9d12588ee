"""Keras callbacks: throughput, health of a training, checkpoints.

`check_writable` and `with_health` serve the rest of the package.
"""

from conadv_tf.callbacks.checkpoint_files import check_writable
from conadv_tf.callbacks.checkpoints import Checkpoints
from conadv_tf.callbacks.health import TrainingHealth
from conadv_tf.callbacks.health import with_health
from conadv_tf.callbacks.throughput import ThroughputLogger

__all__ = [
    "Checkpoints",
    "ThroughputLogger",
    "TrainingHealth",
    "check_writable",
    "with_health",
]
