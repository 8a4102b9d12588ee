"""The optimizers that a configuration can name."""

import dataclasses
import warnings

from experiments import config_fields
from experiments.config_fields import bounded

# Fields of `OptimizerConfig` that only LARS uses.
LARS_FIELDS = ("momentum", "trust_coefficient", "nesterov", "decay_in_norm")
# LAMB selects variables by name. These are the variables that LARS excludes.
_EXCLUDED = [r"(^|/)(gamma|beta|bias)(:\d+)?$"]


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Arguments of LARS or LAMB and of the learning rate schedule.

    Attributes:
      name: "lars" is `ca.LARS`, "lamb" the LAMB of tensorflow-addons.
      learning_rate: peak learning rate.
      warmup_epochs: epochs of linear warm-up to the peak.
      power: exponent of the polynomial decay; 1.6 is that of the authors'
        code.
      end_learning_rate: learning rate after the decay.
      momentum: momentum, for LARS.
      weight_decay: weight decay.
      trust_coefficient: factor of the trust ratio, for LARS.
      nesterov: whether to use Nesterov momentum, for LARS.
      decay_in_norm: whether the trust ratio divides by the norm of the sum of
        gradient and weight decay instead of the sum of their norms, for LARS.
    """

    name: str = bounded("lars", ("lars", "lamb"))
    learning_rate: float = bounded(4.0, "(0, inf)")
    warmup_epochs: float = bounded(5.0, "[0, inf)")
    power: float = bounded(1.6, "(0, inf)")
    end_learning_rate: float = bounded(1e-4, "[0, inf)")
    momentum: float = bounded(0.9, "[0, 1)")
    weight_decay: float = bounded(1e-4, "[0, inf)")
    trust_coefficient: float = bounded(0.001, "(0, inf)")
    nesterov: bool = False
    decay_in_norm: bool = False

    def __post_init__(self):
        """Raises a ValueError for wrong values."""
        config_fields.check(self, "optimizer.")
        if self.end_learning_rate > self.learning_rate:
            raise ValueError(
                "Expected optimizer.end_learning_rate <= "
                f"optimizer.learning_rate; received {self.end_learning_rate} "
                f"and {self.learning_rate}, with which the learning rate would "
                "rise after the warm-up."
            )
        if self.name == "lamb" and self.learning_rate >= 1:
            raise ValueError(
                "Expected optimizer.learning_rate < 1 with optimizer.name="
                "lamb, where the learning rate is the relative change of each "
                f"weight; received {self.learning_rate}. Begin with 0.08."
            )


def build(config, rate):
    """Builds the optimizer of an `OptimizerConfig`.

    Args:
      config: an `OptimizerConfig`.
      rate: Keras learning rate schedule.

    Raises:
      ImportError: for LAMB without tensorflow-addons (the extra
        "experiments").
    """
    if config.name == "lamb":
        return _lamb(config, rate)
    # Importing this module must not import TensorFlow, which takes seconds.
    import conadv_tf as ca

    return ca.LARS(
        rate,
        weight_decay=config.weight_decay,
        record_trust_ratios=True,
        **{field: getattr(config, field) for field in LARS_FIELDS},
    )


def _lamb(config, rate):
    """Builds LAMB (You et al. 2020, arXiv 1904.00962)."""
    try:
        with warnings.catch_warnings():
            # It warns on import that its development has ended.
            warnings.simplefilter("ignore")
            import tensorflow_addons as tfa
    except ImportError as error:
        raise ImportError(
            "Expected tensorflow-addons for optimizer.name=lamb; received an "
            "environment in which it cannot be imported. It needs TensorFlow "
            "2.15 and Python 3.10 or 3.11: install it with `pip install "
            '"tensorflow-addons<0.24"` or the extra [experiments] of this '
            "package, or train with optimizer.name=lars."
        ) from error
    return tfa.optimizers.LAMB(
        rate,
        weight_decay=config.weight_decay,
        exclude_from_weight_decay=_EXCLUDED,
        exclude_from_layer_adaptation=_EXCLUDED,
    )
