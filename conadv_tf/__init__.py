"""Concurrent Adversarial Learning (ConAdv) for TensorFlow 2 and Keras.

Liu et al., "Concurrent Adversarial Learning for Large-Batch Training", ICLR
2022 (arXiv 2106.00221). Start with `ConAdvModel`.
"""

# Before anything reads tf.keras.
import conadv_tf.keras2  # noqa: F401

# isort: split
from conadv_tf import analysis
from conadv_tf import data
from conadv_tf import distribution
from conadv_tf import networks
from conadv_tf import steps
from conadv_tf.attacks import FGSM
from conadv_tf.attacks import PGD
from conadv_tf.attacks import ScheduledAttack
from conadv_tf.batch_norm import batch_norm_branch
from conadv_tf.batch_norm import SplitBatchNormalization
from conadv_tf.callbacks import Checkpoints
from conadv_tf.callbacks import ThroughputLogger
from conadv_tf.callbacks import TrainingMonitor
from conadv_tf.model import ConAdvModel
from conadv_tf.networks import merge_batch_norm
from conadv_tf.networks import split_batch_norm
from conadv_tf.optimizers import LARS
from conadv_tf.optimizers import scaling_rule
from conadv_tf.optimizers import WarmupPolynomialDecay
from conadv_tf.steps import Concurrent
from conadv_tf.steps import Delayed
from conadv_tf.steps import Plain
from conadv_tf.steps import RotatingRoles
from conadv_tf.steps import Sequential
from conadv_tf.steps import SharedPass
from conadv_tf.steps import Step
from conadv_tf.steps import step_memory
from conadv_tf.steps import StepRunner
from conadv_tf.types import Attack

__version__ = "0.1.0"

__all__ = [
    "FGSM",
    "LARS",
    "PGD",
    "Attack",
    "Checkpoints",
    "ConAdvModel",
    "ScheduledAttack",
    "SplitBatchNormalization",
    "ThroughputLogger",
    "TrainingMonitor",
    "WarmupPolynomialDecay",
    "Concurrent",
    "Delayed",
    "Plain",
    "RotatingRoles",
    "Sequential",
    "SharedPass",
    "Step",
    "StepRunner",
    "analysis",
    "batch_norm_branch",
    "data",
    "distribution",
    "merge_batch_norm",
    "networks",
    "scaling_rule",
    "split_batch_norm",
    "steps",
    "step_memory",
]


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
