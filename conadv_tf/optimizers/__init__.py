"""LARS, and the learning rates of large batches."""

from conadv_tf.optimizers.lars import LARS
from conadv_tf.optimizers.learning_rates import scaling_rule
from conadv_tf.optimizers.learning_rates import WarmupPolynomialDecay

__all__ = ["LARS", "WarmupPolynomialDecay", "scaling_rule"]
