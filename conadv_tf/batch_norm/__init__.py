"""Split batch norm: the layer, its form under XLA, which branch runs.

`SplitBatchNormalization` and `batch_norm_branch` are what users call;
`batch_norm_config` and `current_route` serve the rest of the package.
"""

from conadv_tf.batch_norm.routing import batch_norm_branch
from conadv_tf.batch_norm.routing import current_route
from conadv_tf.batch_norm.split import batch_norm_config
from conadv_tf.batch_norm.split import SplitBatchNormalization

__all__ = [
    "SplitBatchNormalization",
    "batch_norm_branch",
    "batch_norm_config",
    "current_route",
]
