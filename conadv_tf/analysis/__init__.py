"""Measures flatness, robustness and the drift of stale weights.

It compares trainings with the paper's theory and is not needed to train.
"""

from conadv_tf.analysis.curvature import top_eigenvalues
from conadv_tf.analysis.drift import measure_drift
from conadv_tf.analysis.drift_callback import StalenessDrift
from conadv_tf.analysis.filters import filter_normalized_direction
from conadv_tf.analysis.landscape import loss_surface
from conadv_tf.analysis.objective import network_objective
from conadv_tf.analysis.objective import Objective
from conadv_tf.analysis.robustness import accuracy
from conadv_tf.analysis.robustness import robust_accuracy
from conadv_tf.analysis.theory import lemma_1_bound
from conadv_tf.analysis.theory import theorem_1_bound
from conadv_tf.analysis.theory import theorem_1_of_run

__all__ = [
    "Objective",
    "StalenessDrift",
    "accuracy",
    "filter_normalized_direction",
    "lemma_1_bound",
    "loss_surface",
    "measure_drift",
    "network_objective",
    "robust_accuracy",
    "theorem_1_bound",
    "theorem_1_of_run",
    "top_eigenvalues",
]
