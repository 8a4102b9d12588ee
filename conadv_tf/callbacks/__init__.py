"""Keras callbacks: throughput, monitoring of training, checkpoints.

`EpochEnd`, `check_writable`, `state_in_backups` and `with_callback` are for the
rest of the package.
"""

from conadv_tf.callbacks.added import with_callback
from conadv_tf.callbacks.checkpoint_files import check_writable
from conadv_tf.callbacks.checkpoint_state import state_in_backups
from conadv_tf.callbacks.checkpoints import Checkpoints
from conadv_tf.callbacks.epoch_end import EpochEnd
from conadv_tf.callbacks.throughput import ThroughputLogger
from conadv_tf.callbacks.training_monitor import TrainingMonitor

__all__ = [
    "Checkpoints",
    "EpochEnd",
    "ThroughputLogger",
    "TrainingMonitor",
    "check_writable",
    "state_in_backups",
    "with_callback",
]
