"""Detects settings that have no effect on a configuration.

A setting that a user gives and that has no effect is a mistake: the run would
not be the one that the user meant.
"""

from collections.abc import Callable
import dataclasses

from experiments import methods
from experiments import networks
from experiments import optimizers


@dataclasses.dataclass(frozen=True)
class _Scope:
    """The configurations on which a setting has an effect.

    Attributes:
      covers: function of a `RunConfig` that returns whether it is one of them.
      needs: the condition in words, for an error message.
    """

    covers: Callable
    needs: str


_ATTACK = _Scope(
    lambda config: config.tau is not None, "a method with an attack"
)
_LARS = _Scope(
    lambda config: config.optimizer.name == "lars", "optimizer.name=lars"
)


def _network(field):
    """Returns the scope of a field of `NetworkConfig`."""
    families = [
        name
        for name, family in networks.FAMILIES.items()
        if field in family.fields
    ]
    return _Scope(
        lambda config: config.network.name in families,
        " or ".join(f"network.name={name}" for name in families),
    )


def _step(option):
    found = [
        name
        for name, step_class in methods.STEP_CLASSES.items()
        if option in [field.name for field in dataclasses.fields(step_class)]
    ]
    return _Scope(
        lambda config: config.method in found, f"method {' or '.join(found)}"
    )


# {name of a setting or a group: its scope}.
_SCOPES = {
    "attack": _ATTACK,
    "start": _ATTACK,
    **{
        f"step.{option}": _step(option)
        for step_class in methods.STEP_CLASSES.values()
        for option in [field.name for field in dataclasses.fields(step_class)]
    },
    "global_batch_size": _Scope(
        lambda config: config.emulate_replicas is None, "no emulate_replicas"
    ),
    "data_dir": _Scope(
        lambda config: not config.dataset.startswith(("folder:", "npz:")),
        "a dataset of tensorflow-datasets",
    ),
    "padding": _Scope(
        lambda config: not config.dataset.startswith("folder:"),
        "a dataset with images of one size",
    ),
    **{f"optimizer.{field}": _LARS for field in optimizers.LARS_FIELDS},
    **{
        f"network.{field}": _network(field)
        for field in ("depth", "width", "variant")
    },
}


def _scope(name):
    """Returns the scope of a setting or of its group; None is everywhere."""
    return _SCOPES.get(name) or _SCOPES.get(name.partition(".")[0])


def has_effect(config, name):
    """Returns whether training a `RunConfig` depends on a setting.

    Args:
      config: a `RunConfig`.
      name: name of the setting, with dots.
    """
    scope = _scope(name)
    return scope is None or bool(scope.covers(config))


def check_given(configs, given):
    """Raises a ValueError for a given setting that has no effect.

    Args:
      configs: list of `RunConfig`. A setting is accepted if it has an effect
        on at least one of them.
      given: {name: value} of the given settings.
    """
    for name, value in given.items():
        if not any(has_effect(config, name) for config in configs):
            raise ValueError(
                f"{name}={value} was given but has no effect: it needs "
                f"{_scope(name).needs}. Leave it out, or change the "
                "configuration."
            )
