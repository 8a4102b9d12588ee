"""Which settings a training does not depend on, given the others.

A value that is given and changes nothing is a mistake: what is trained is not
what was meant.
"""

from collections.abc import Callable
import dataclasses

from experiments import networks


@dataclasses.dataclass(frozen=True)
class _Scope:
    """Where settings have an effect.

    covers: whether training depends on them; function of a `Config`.
    needs: what it takes, in words.
    """

    covers: Callable
    needs: str


_ATTACK = _Scope(lambda config: config.tau is not None, "an attack")
_SCOPES = {
    "attack": _ATTACK,
    "adversarial_weight": _ATTACK,
    "adversarial_fraction": _ATTACK,
    "start_replaces_clean": _Scope(
        lambda config: config.attack_pass == "shared", "attack_pass=shared"
    ),
    "staleness": _Scope(
        lambda config: config.tau, "method conadv (of disadv it is 0)"
    ),
    "global_batch_size": _Scope(
        lambda config: config.emulate_replicas is None, "no emulate_replicas"
    ),
    "data_dir": _Scope(
        lambda config: not config.dataset.startswith(("folder:", "npz:")),
        "a dataset of tensorflow-datasets",
    ),
    "padding": _Scope(
        lambda config: not config.dataset.startswith("folder:"),
        "images of one size",
    ),
    **{
        f"optimizer.{field}": _Scope(
            lambda config: config.optimizer.name == "lars",
            "optimizer.name=lars",
        )
        for field in (
            *("momentum", "trust_coefficient", "nesterov", "decay_in_norm"),
        )
    },
    **{
        f"network.{field}": _Scope(
            lambda config, field=field: (
                field in networks.FAMILIES[config.network.name].fields
            ),
            "network.name="
            + " or network.name=".join(
                name
                for name, family in networks.FAMILIES.items()
                if field in family.fields
            ),
        )
        for field in ("depth", "width", "variant")
    },
}


def _scope(name):
    """The scope of a setting, or of its group; None is everywhere."""
    return _SCOPES.get(name) or _SCOPES.get(name.partition(".")[0])


def has_effect(config, name):
    """Whether the training of a `Config` depends on a setting, by its name."""
    scope = _scope(name)
    return scope is None or bool(scope.covers(config))


def check_given(configs, given):
    """Raises a ValueError for a setting that was given and has no effect.

    Args:
      configs: list of `Config`; one that depends on it is enough.
      given: {name: value} of settings.
    """
    for name, value in given.items():
        if not any(has_effect(config, name) for config in configs):
            raise ValueError(
                f"{name}={value} was given, but nothing that is trained here "
                f"depends on it: it needs {_scope(name).needs}. Leave it out, "
                "or change that."
            )
