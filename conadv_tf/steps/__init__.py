"""Training steps: their options (`Step`) and run-time parts (`StepRunner`).

`concurrent` is Algorithm 1. The other step types are `plain` (plain training
and DisAdv), `shared_pass`, `microbatched`, `rotating_roles` and `delayed`.
"""

from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch_spec import example_labels
from conadv_tf.steps.concurrent import Concurrent
from conadv_tf.steps.context import KerasMetrics
from conadv_tf.steps.context import TrainingContext
from conadv_tf.steps.delayed import Delayed
from conadv_tf.steps.losses import LOSS_METRIC
from conadv_tf.steps.memory import step_memory
from conadv_tf.steps.memory import StepMemory
from conadv_tf.steps.memory import temporary_bytes
from conadv_tf.steps.pending import PendingBatch
from conadv_tf.steps.pending import PipelinedRunner
from conadv_tf.steps.plain import Plain
from conadv_tf.steps.plain import Sequential
from conadv_tf.steps.rotating_roles import RotatingRoles
from conadv_tf.steps.runner import StepRunner
from conadv_tf.steps.shadow_weights import ShadowWeights
from conadv_tf.steps.shared_pass import SharedPass
from conadv_tf.steps.step import deserialize
from conadv_tf.steps.step import serialize
from conadv_tf.steps.step import Step
from conadv_tf.steps.update import with_loss_scale

__all__ = [
    "LOSS_METRIC",
    "Batch",
    "Concurrent",
    "Delayed",
    "KerasMetrics",
    "PendingBatch",
    "PipelinedRunner",
    "Plain",
    "RotatingRoles",
    "Sequential",
    "ShadowWeights",
    "SharedPass",
    "Step",
    "StepMemory",
    "StepRunner",
    "TrainingContext",
    "deserialize",
    "example_labels",
    "serialize",
    "step_memory",
    "temporary_bytes",
    "with_loss_scale",
]
