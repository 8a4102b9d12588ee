"""Distribution strategies, replica-local variables and random numbers.

Users call `strategy` and `describe`; `NAMES` lists the strategies. The module
`random` (draws that do not depend on how a batch is split over replicas) and
the functions for local variables are for attacks and training steps, including
custom ones.
"""

from conadv_tf.distribution import random
from conadv_tf.distribution.local_variables import assign_local
from conadv_tf.distribution.local_variables import LOCAL
from conadv_tf.distribution.local_variables import local_values
from conadv_tf.distribution.local_variables import local_variable
from conadv_tf.distribution.strategies import describe
from conadv_tf.distribution.strategies import mean_over_workers
from conadv_tf.distribution.strategies import NAMES
from conadv_tf.distribution.strategies import strategy
from conadv_tf.distribution.strategies import worker_index_and_count

__all__ = [
    "LOCAL",
    "NAMES",
    "assign_local",
    "describe",
    "local_values",
    "local_variable",
    "mean_over_workers",
    "random",
    "strategy",
    "worker_index_and_count",
]
