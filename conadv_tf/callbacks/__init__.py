"""Keras callbacks: throughput, monitoring of training, checkpoints.

`check_writable`, `state_in_backups`, `with_epoch_end` and
`with_training_monitor` are for the rest of the package.
"""

from conadv_tf.callbacks.checkpoint_files import check_writable
from conadv_tf.callbacks.checkpoint_state import state_in_backups
from conadv_tf.callbacks.checkpoints import Checkpoints
from conadv_tf.callbacks.epoch_end import with_epoch_end
from conadv_tf.callbacks.throughput import ThroughputLogger
from conadv_tf.callbacks.training_monitor import TrainingMonitor
from conadv_tf.callbacks.training_monitor import with_training_monitor

__all__ = [
    "Checkpoints",
    "ThroughputLogger",
    "TrainingMonitor",
    "check_writable",
    "state_in_backups",
    "with_epoch_end",
    "with_training_monitor",
]
