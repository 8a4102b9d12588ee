"""LARS, and the learning rates of large batches."""

from conadv_tf.optimizers.lars import LARS
from conadv_tf.optimizers.schedules import scaling_rule
from conadv_tf.optimizers.schedules import WarmupPolynomialDecay

__all__ = ["LARS", "WarmupPolynomialDecay", "scaling_rule"]
