"""LARS, and learning rates for large batches."""

from conadv_tf.optimizers.lars import LARS
from conadv_tf.optimizers.learning_rates import WarmupPolynomialDecay
from conadv_tf.optimizers.scaling_rules import scaling_rule

__all__ = ["LARS", "WarmupPolynomialDecay", "scaling_rule"]
