"""Optimizers, schedules, losses and metrics of Keras 3, for tf.keras.

An object of tf.keras is created from the config. The classes are listed, and
the tests compare the values of each of them with Keras 3's.
"""

from collections.abc import Callable
from collections.abc import Mapping
import inspect
from typing import Any

import tensorflow as tf

from conadv_tf.keras_3 import internals
from conadv_tf.keras_3.detection import keras_3
from conadv_tf.keras_3.errors import refusal
from conadv_tf.keras_3.remembered import adapted_once
from conadv_tf.keras_3.shared_classes import KINDS
from conadv_tf.types import Config

# {Keras 3's name: tf.keras's name}.
_REDUCTIONS = {
    "sum_over_batch_size": "auto",
    "mean": "auto",
    "sum": "sum",
    "none": "none",
    None: "none",
}
# AUC's config has the thresholds only if they were given.
_LEFT_OUT = {"dtype", "kwargs", "thresholds"}


def from_keras_3(value: Any) -> Any:
    """Returns the object of tf.keras that computes the same.

    Args:
      value: an optimizer, a learning rate schedule, a loss, a metric, or a
        function of `keras.losses` or `keras.metrics`.

    Returns:
      A new object. An optimizer is the same object if it is adapted again.

    Raises:
      ValueError: if tf.keras has no equal object, with the line to write.
    """
    if inspect.isroutine(value):
        return _function(value)
    if isinstance(value, type):
        raise _refusal_of_class(value)
    name = type(value).__name__
    keras = keras_3()
    if type(value) is keras.optimizers.LossScaleOptimizer:
        inner = from_keras_3(value.inner_optimizer)
        return adapted_once(value, lambda _: _loss_scale(value, inner))
    for kind, module, base, names in KINDS:
        if isinstance(value, getattr(_module(keras, module), base)):
            if _is_listed(type(value), module, names):
                counterpart = getattr(_module(tf.keras, module), name)
                return _CONVERTERS[module](value, counterpart)
            raise _refusal_of_kind(type(value), kind, module, base, names[0])
    raise refusal(
        "an optimizer, a loss or a metric",
        f"a {name} of Keras 3",
        "Write an optimizer, a loss or a metric of tf.keras",
    )


def _module(package: Any, name: str) -> Any:
    for part in name.split("."):
        package = getattr(package, part)
    return package


def _is_listed(cls: type, module: str, names: tuple[str, ...]) -> bool:
    """Whether a class is one of the listed classes, not a subclass."""
    package = _module(keras_3(), module)
    return cls.__name__ in names and getattr(package, cls.__name__) is cls


def _refusal_of_class(cls: type) -> ValueError:
    for kind, module, base, names in KINDS:
        if issubclass(cls, getattr(_module(keras_3(), module), base)):
            known = cls.__name__ if cls.__name__ in names else names[0]
            return refusal(
                f"{kind}, not a class",
                f"the class {cls.__name__} of Keras 3",
                f"Write tf.keras.{module}.{known}(...)",
            )
    return refusal(
        "an object of tf.keras, not a class",
        f"the class {cls.__name__} of Keras 3",
        "Write an optimizer, a loss or a metric of tf.keras",
    )


def _refusal_of_kind(
    cls: type, kind: str, module: str, base: str, example: str
) -> ValueError:
    name = cls.__name__
    received = f"{name} of Keras 3, which tf.keras does not have"
    remedy = f"Write another one, such as tf.keras.{module}.{example}(...)"
    if cls.__module__.split(".")[0] != "keras":
        received = f"{name}, a subclass of Keras 3's {base}"
        remedy = f"Derive {name} from tf.keras.{module}.{base}"
    elif name == "MeanMetricWrapper":
        received = f"{name} of Keras 3"
        remedy = "Write its function in place of it"
    elif hasattr(_module(tf.keras, module), name):
        received = f"{name} of Keras 3, which computes other values"
        remedy = f"Write tf.keras.{module}.{name}(...)"
    return refusal(f"{kind} of tf.keras", received, remedy)


def _function(value: Callable[..., Any]) -> Callable[..., Any]:
    """Returns tf.keras's function of the same name."""
    name = getattr(value, "__name__", "")
    for module in ("losses", "metrics"):
        found = getattr(getattr(tf.keras, module), name, None)
        if found and getattr(getattr(keras_3(), module), name, None) is value:
            return found
    raise refusal(
        "a loss or a metric of tf.keras, or a function of (y_true, y_pred)",
        f"the function {name} of Keras 3, which tf.keras does not have",
        "Write a function of (y_true, y_pred) in operations of TensorFlow",
    )


def _loss_scale(value: Any, inner: Any) -> Any:
    return tf.keras.mixed_precision.LossScaleOptimizer(
        inner,
        initial_scale=value.initial_scale,
        dynamic_growth_steps=value.dynamic_growth_steps,
    )


def _optimizer(value: Any, cls: type) -> Any:
    return adapted_once(value, lambda _: _new_optimizer(value, cls))


def _new_optimizer(value: Any, cls: type) -> Any:
    _check_unused(value)
    constructor = f"tf.keras.optimizers.{cls.__name__}"
    name = f"{constructor}(...)"
    problems: dict[str, tuple[Any, str]] = {
        # Keras 3's average begins with the weights after the first step.
        "use_ema": (value.use_ema, f"Write {constructor}(use_ema=True, ...)"),
        "loss_scale_factor": (
            value.loss_scale_factor,
            f"Write tf.keras.mixed_precision.LossScaleOptimizer({name}, "
            f"dynamic=False, initial_scale={value.loss_scale_factor})",
        ),
        "gradient_accumulation_steps": (
            value.gradient_accumulation_steps,
            "Leave it out and write ca.ConAdvModel(..., step=ca.Concurrent("
            f"microbatches={value.gradient_accumulation_steps}))",
        ),
        "exclude_from_weight_decay": (
            internals.excludes_from_weight_decay(value),
            f"Write {name} and call its `exclude_from_weight_decay`",
        ),
    }
    for argument, (setting, remedy) in problems.items():
        if setting:
            raise refusal(
                f"an optimizer with the settings of {constructor}",
                f"{cls.__name__} of Keras 3 with {argument}={setting}",
                remedy,
            )
    rate = internals.learning_rate(value)
    schedules = keras_3().optimizers.schedules
    if isinstance(rate, schedules.LearningRateSchedule):
        rate = from_keras_3(rate)
    elif not isinstance(
        rate, tf.keras.optimizers.schedules.LearningRateSchedule
    ):
        if callable(rate):
            raise refusal(
                "a learning rate that is a float or a schedule",
                f"{cls.__name__} of Keras 3 with a function",
                f"Write {constructor}(schedule) with a `LearningRateSchedule`",
            )
        rate = float(value.learning_rate)
    return _create(value, cls, {**value.get_config(), "learning_rate": rate})


def _check_unused(optimizer: Any) -> None:
    steps = int(optimizer.iterations.numpy())
    if steps:
        name = type(optimizer).__name__
        raise refusal(
            "an optimizer that has made no step",
            f"{name} of Keras 3, which has made {steps}",
            f"Write a new optimizer, tf.keras.optimizers.{name}(...)",
        )


def _schedule(value: Any, cls: type) -> Any:
    return _create(value, cls, value.get_config())


def _loss(value: Any, cls: type) -> Any:
    config = {**value.get_config(), **internals.function_arguments(value)}
    if value.reduction not in _REDUCTIONS:
        raise refusal(
            'a loss with reduction="sum_over_batch_size"',
            f"{cls.__name__} of Keras 3 with reduction={value.reduction!r}",
            f"Write tf.keras.losses.{cls.__name__}(...)",
        )
    config["reduction"] = _REDUCTIONS[value.reduction]
    return _create(value, cls, config)


def _metric(value: Any, cls: type) -> Any:
    config = {**value.get_config(), **internals.function_arguments(value)}
    if config.get("ignore_class") is not None:
        raise refusal(
            "a metric without ignore_class",
            f"{cls.__name__} of Keras 3, whose mean includes the labels of "
            f"ignore_class={config['ignore_class']}",
            f"Write tf.keras.metrics.{cls.__name__}(...)",
        )
    return _create(value, cls, config)


def _create(value: Any, cls: type, config: Config) -> Any:
    """Creates an object of tf.keras, or names the argument that it lacks."""
    ours, theirs = _defaults(cls), _defaults(type(value))
    config = {name: each for name, each in config.items() if name in theirs}
    module = cls.__module__
    dtype = config.pop("dtype", getattr(value, "dtype", None))
    floatx = tf.keras.backend.floatx()
    lacking = {
        name: each
        for name, each in config.items()
        if name not in ours and each != theirs[name]
    }
    if dtype not in (None, floatx):
        lacking["dtype"] = dtype
    unknown = set(theirs) - set(config) - _LEFT_OUT
    if lacking or unknown:
        names = ", ".join(
            [f"{name}={each!r}" for name, each in lacking.items()]
            + sorted(unknown)
        )
        raise refusal(
            f"the arguments of tf.keras's {cls.__name__}",
            f"{cls.__name__} of Keras 3 with {names}",
            f"Write tf.keras.{_kind_of(module)}.{cls.__name__}(...)",
        )
    return cls(**{name: each for name, each in config.items() if name in ours})


def _kind_of(module: str) -> str:
    parts = module.split(".")
    return next(part for part in parts if part in _CONVERTERS)


def _defaults(cls: type) -> Mapping[str, Any]:
    """Returns {name: default value} of the arguments of a constructor."""
    parameters = inspect.signature(cls).parameters
    return {name: each.default for name, each in parameters.items()}


_CONVERTERS: dict[str, Callable[[Any, type], Any]] = {
    "optimizers": _optimizer,
    "optimizers.schedules": _schedule,
    "losses": _loss,
    "metrics": _metric,
}
