"""Concurrent Adversarial Learning (ConAdv) for TensorFlow 2 and Keras.

Liu et al., "Concurrent Adversarial Learning for Large-Batch Training", ICLR
2022 (arXiv 2106.00221). Start with `ConAdvModel`.
"""

from conadv_tf import analysis
from conadv_tf import data
from conadv_tf import distribution
from conadv_tf import networks
from conadv_tf.attack_schedule import ScheduledAttack
from conadv_tf.attacks import FGSM
from conadv_tf.attacks import PGD
from conadv_tf.callbacks import ThroughputLogger
from conadv_tf.checkpoints import Checkpoints
from conadv_tf.conversion import merge_batch_norm
from conadv_tf.conversion import split_batch_norm
from conadv_tf.health import TrainingHealth
from conadv_tf.lars import LARS
from conadv_tf.memory import step_memory
from conadv_tf.model import ConAdvModel
from conadv_tf.normalization import SplitBatchNormalization
from conadv_tf.routing import batch_norm_branch
from conadv_tf.schedules import scaling_rule
from conadv_tf.schedules import WarmupPolynomialDecay

__version__ = "0.1.0"

__all__ = [
    "FGSM",
    "LARS",
    "PGD",
    "Checkpoints",
    "ConAdvModel",
    "ScheduledAttack",
    "SplitBatchNormalization",
    "ThroughputLogger",
    "TrainingHealth",
    "WarmupPolynomialDecay",
    "analysis",
    "batch_norm_branch",
    "data",
    "distribution",
    "merge_batch_norm",
    "networks",
    "scaling_rule",
    "split_batch_norm",
    "step_memory",
]
