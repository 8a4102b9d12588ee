"""Ways to step: what `ConAdvModel` does with a batch that it receives.

`protocol.Step` is what they have in common; `concurrent` is Algorithm 1.
`ways` says which of them the arguments of `ConAdvModel` ask for.
"""

from conadv_tf.steps import lowering
from conadv_tf.steps.batch import Batch
from conadv_tf.steps.batch_spec import array_batch_size
from conadv_tf.steps.batch_spec import example_labels
from conadv_tf.steps.guarded_update import with_loss_scale
from conadv_tf.steps.memory import step_memory
from conadv_tf.steps.memory import StepMemory
from conadv_tf.steps.options import ATTACK_PASSES
from conadv_tf.steps.options import NOT_GIVEN
from conadv_tf.steps.options import Options
from conadv_tf.steps.options import PLACEMENTS
from conadv_tf.steps.part_accuracy import part_accuracy
from conadv_tf.steps.part_accuracy import PartAccuracy
from conadv_tf.steps.parts import LOSS_METRIC
from conadv_tf.steps.protocol import Step
from conadv_tf.steps.shadow_weights import ShadowWeights
from conadv_tf.steps.ways import way_to_step

__all__ = [
    "ATTACK_PASSES",
    "LOSS_METRIC",
    "NOT_GIVEN",
    "PLACEMENTS",
    "Batch",
    "Options",
    "PartAccuracy",
    "ShadowWeights",
    "Step",
    "StepMemory",
    "array_batch_size",
    "example_labels",
    "lowering",
    "part_accuracy",
    "step_memory",
    "way_to_step",
    "with_loss_scale",
]
