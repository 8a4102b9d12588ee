"""Settings by name: their values, their changes from text, differences."""

import dataclasses
import functools

from conadv_tf import spelling
from experiments import config as config_lib
from experiments import config_fields


def _annotations():
    """{name: annotation} of all fields, groups spelled out with dots."""
    found = {}
    for field in dataclasses.fields(config_lib.Config):
        group = config_lib.GROUPS.get(field.name)
        if group is None:
            found[field.name] = field.type
        else:
            for inner in dataclasses.fields(group):
                found[f"{field.name}.{inner.name}"] = inner.type
    return found


_ANNOTATIONS = _annotations()
# Of what users set; --quick sets the other.
NAMES = tuple(name for name in _ANNOTATIONS if name != "rehearsal")


def value(config, name):
    """The value of a setting, by its name with dots."""
    return functools.reduce(getattr, name.split("."), config)


def differing(before, now):
    """Names of the fields that differ between two `Config`s."""
    return [
        name for name in _ANNOTATIONS if value(before, name) != value(now, name)
    ]


def differences(before, now):
    """What two configurations differ in.

    Args:
      before: a `Config`, of a run that is there.
      now: a `Config`, asked for.

    Returns:
      Text for each field that differs, with both values; empty if none does.
    """
    return [
        f"{name} is {value(before, name)!r} there, received "
        f"{value(now, name)!r}"
        for name in differing(before, now)
    ]


def replace(config, values):
    """Returns a config with settings replaced.

    Args:
      config: a `Config`.
      values: {name: value}, names with dots.

    Returns:
      A new `Config`. All are replaced before anything is checked: one may be
      right by another only.
    """
    changed = dataclasses.asdict(config)
    for name, new in values.items():
        group, _, field = name.rpartition(".")
        (changed[group] if group else changed)[field] = new
    return config_lib.from_dict(changed)


def override(config, assignments):
    """Returns a config with settings replaced by text.

    Args:
      config: a `Config`.
      assignments: strings "field=value" or "group.field=value", for example
        "optimizer.momentum=0.95". "none" is None.

    Returns:
      A new `Config`.

    Raises:
      ValueError: if a field does not exist or is given twice, or a value does
        not fit.
    """
    return replace(config, parse(assignments))


def parse(assignments):
    """The {name: value} of assignments; see `override`."""
    values = {}
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        name = name.strip()
        if not separator:
            raise ValueError(
                "Expected key=value, for example optimizer.momentum=0.95; "
                f"received {assignment!r}."
            )
        if name not in NAMES:
            raise ValueError(
                f"Unknown configuration key {name!r}."
                f"{spelling.did_you_mean(name, NAMES)} The keys are "
                f"{', '.join(NAMES)}."
            )
        if name in values:
            raise ValueError(
                f"Expected each key once; received {name} several times."
            )
        values[name] = _parsed(text.strip(), name)
    return values


def _parsed(text, name):
    kind, optional = config_fields.kind_of(_ANNOTATIONS[name])
    if optional and text.lower() == "none":
        return None
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError):
        raise ValueError(
            f"Expected a value of type {kind.__name__} for {name}; received "
            f"{text!r}."
        ) from None
