"""The optimizers of large batches that a configuration can name."""

import warnings

import conadv_tf as ca

# LAMB goes by names; the same variables as LARS leaves out by what they are.
_EXCLUDED = r"(^|/)(gamma|beta|bias)(:\d+)?$"


def optimizer(config, rate):
    """The optimizer of a configuration.

    Args:
      config: a `config.Optimizer`.
      rate: Keras learning rate schedule.

    Raises:
      ImportError: if it is LAMB, without tensorflow-addons (the extra
        "experiments").
    """
    return {"lars": _lars, "lamb": _lamb}[config.name](config, rate)


def _lars(config, rate):
    return ca.LARS(
        rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        trust_coefficient=config.trust_coefficient,
        nesterov=config.nesterov,
        decay_in_norm=config.decay_in_norm,
        record_trust_ratios=True,
    )


def _lamb(config, rate):
    """LAMB (You et al. 2020, arXiv 1904.00962) of tensorflow-addons."""
    try:
        with warnings.catch_warnings():
            # It announces its end, which a user can do nothing about.
            warnings.simplefilter("ignore")
            import tensorflow_addons as tfa
    except ImportError as error:
        raise ImportError(
            "Expected tensorflow-addons for optimizer.name=lamb; received an "
            "environment where it cannot be imported. With TensorFlow 2.15 on "
            'Python 3.11 `pip install "tensorflow-addons<0.24"` brings it, '
            "as does this package's extra [experiments]; it runs with no "
            "other. Or train with optimizer.name=lars."
        ) from error
    return tfa.optimizers.LAMB(
        rate,
        weight_decay=config.weight_decay,
        exclude_from_weight_decay=[_EXCLUDED],
        exclude_from_layer_adaptation=[_EXCLUDED],
    )
