"""Split batch norm: the layer, and the context that selects its branch.

Users call `SplitBatchNormalization` and `batch_norm_branch`. The functions
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
