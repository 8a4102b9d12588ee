"""Checks the fields of configurations and sets them by name or from text.

A configuration is a frozen dataclass. A field that is a dataclass itself is a
group, and its settings are named with dots, as "optimizer.momentum".
"""

import dataclasses
import functools
import typing

from experiments import spelling


def bounded(default, values, remedy=lambda value: ""):
    """Declares a dataclass field that accepts certain values only.

    Args:
      default: default value.
      values: tuple of all accepted values, or an interval such as "[0, 1)".
      remedy: function that maps a refused value to a sentence that says what
        to write instead, or to "".

    Returns:
      A `dataclasses.Field`, for `check`.
    """
    metadata = {"values": values, "remedy": remedy}
    return dataclasses.field(default=default, metadata=metadata)


def internal(default):
    """Declares a dataclass field that users cannot set by name."""
    return dataclasses.field(default=default, metadata={"internal": True})


def selected(selector, classes, hidden=()):
    """Declares a group whose class depends on another field.

    Args:
      selector: name of the other field.
      classes: {value of the other field: dataclass of the group}.
      hidden: options that users cannot set by name.
    """
    metadata = {"selector": selector, "classes": classes, "hidden": hidden}
    return dataclasses.field(default=None, metadata=metadata)


def check(group, prefix=""):
    """Raises a ValueError that names the first field with a wrong value.

    Args:
      group: dataclass instance. Fields annotated with Optional accept None.
      prefix: text before the names of the fields, such as "attack.".
    """
    for field in dataclasses.fields(group):
        value = getattr(group, field.name)
        kind, optional = kind_of(field)
        values = field.metadata.get("values")
        if value is None and optional:
            continue
        if not _is_a(value, kind):
            expected = f"to be of type {kind.__name__}"
        elif values is None or _accepts(values, value):
            continue
        elif isinstance(values, str):
            expected = f"in {values}"
        else:
            expected = f"to be one of {', '.join(map(repr, values))}"
        raise ValueError(
            f"Expected {prefix}{field.name} {expected}"
            f"{' or None' * optional}; received {value!r}."
            + _remedy(field, value)
        )


def kind_of(field):
    """Returns (type, whether None is accepted) of a dataclass field."""
    options = typing.get_args(field.type) or (field.type,)
    return options[0], type(None) in options


def bounds(interval):
    """Returns the two ends of an interval such as "[0, inf)" as floats."""
    low, high = interval[1:-1].split(",")
    return float(low), float(high)


def _is_a(value, kind):
    if isinstance(value, bool):  # Python counts bool as an integer.
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _accepts(values, value):
    if not isinstance(values, str):
        return value in values
    low, high = bounds(values)
    # NaN is in no interval.
    return (low < value if values[0] == "(" else low <= value) and (
        value < high if values[-1] == ")" else value <= high
    )


def _remedy(field, value):
    """Returns what to do about a value, preceded by a space, or ""."""
    sentence = field.metadata.get("remedy", str)(value)
    values = field.metadata.get("values")
    if not sentence and isinstance(values, tuple) and isinstance(value, str):
        return spelling.did_you_mean(value, values)
    return f" {sentence}" if sentence else ""


@functools.cache
def settings(config_class):
    """Returns {name with dots: field} of all settings of a configuration."""
    found = {}
    for field in dataclasses.fields(config_class):
        if "classes" in field.metadata:
            for group in field.metadata["classes"].values():
                for inner in dataclasses.fields(group):
                    if inner.name not in field.metadata["hidden"]:
                        found[f"{field.name}.{inner.name}"] = inner
        elif dataclasses.is_dataclass(field.type):
            for name, inner in settings(field.type).items():
                found[f"{field.name}.{name}"] = inner
        else:
            found[field.name] = field
    return found


@functools.cache
def names(config_class):
    """Returns the names with dots of the settings that users can set."""
    return tuple(
        name
        for name, field in settings(config_class).items()
        if not field.metadata.get("internal")
    )


def value(config, name):
    """Returns the value of a setting, given its name with dots.

    The value is None if the class of its group does not have the setting.
    """
    group, _, field = name.rpartition(".")
    return getattr(getattr(config, group) if group else config, field, None)


def differing(before, now):
    """Returns the names of the settings in which two configurations differ."""
    return [
        name
        for name in settings(type(before))
        if value(before, name) != value(now, name)
    ]


def differences(before, now):
    """Describes the settings in which two configurations differ.

    Args:
      before: configuration of an existing run.
      now: requested configuration.

    Returns:
      One text for each setting that differs, with both values.
    """
    return [
        f"{name} is {value(before, name)!r} there, received "
        f"{value(now, name)!r}"
        for name in differing(before, now)
    ]


def from_dict(config_class, values):
    """Returns the configuration whose `dataclasses.asdict` is given.

    Args:
      config_class: class of the configuration.
      values: dict. Missing fields get their defaults.

    Raises:
      ValueError: if a field does not exist or has a wrong value.
    """
    groups = {
        field.name: field.type for field in dataclasses.fields(config_class)
    }
    try:
        return config_class(
            **{
                name: groups[name](**value)
                if dataclasses.is_dataclass(groups.get(name))
                else value
                for name, value in values.items()
            }
        )
    except TypeError as error:
        raise ValueError(
            f"Expected the configuration of a run; received {values} ({error})."
        ) from None


def replace(config, values):
    """Returns a configuration with some settings replaced.

    All settings are replaced before any is checked, because one value can
    require another. If the class of a group changes, the new group keeps the
    changed options that it has.

    Args:
      config: a configuration.
      values: {name with dots: value}.
    """
    changed = dataclasses.asdict(config)
    selected_fields = [
        field
        for field in dataclasses.fields(config)
        if "classes" in field.metadata
    ]
    for field in selected_fields:
        changed[field.name] = _changed_options(getattr(config, field.name))
    for name, new in values.items():
        group, _, option = name.rpartition(".")
        (changed[group] if group else changed)[option] = new
    for field in selected_fields:
        # `check` reports a wrong value of the selector.
        group = field.metadata["classes"].get(
            changed[field.metadata["selector"]], type(None)
        )
        known = getattr(group, "__dataclass_fields__", {})
        changed[field.name] = {
            option: value
            for option, value in changed[field.name].items()
            if option in known
        }
    return from_dict(type(config), changed)


def _changed_options(group):
    """Returns {name: value} of the options that differ from the defaults."""
    return {
        field.name: getattr(group, field.name)
        for field in dataclasses.fields(group)
        if getattr(group, field.name) != field.default
    }


def override(config, assignments):
    """Returns a configuration with some settings replaced by text.

    Args:
      config: a configuration.
      assignments: strings "name=value", for example "optimizer.momentum=0.95".
        The text "none" stands for None.

    Raises:
      ValueError: if a setting does not exist or is given twice, or if a value
        is wrong.
    """
    return replace(config, parse(type(config), assignments))


def parse(config_class, assignments):
    """Returns {name: value} of the assignments that `override` describes."""
    known = names(config_class)
    values = {}
    for assignment in assignments:
        name, separator, text = map(str.strip, assignment.partition("="))
        if not separator:
            raise ValueError(
                "Expected key=value, for example optimizer.momentum=0.95; "
                f"received {assignment!r}."
            )
        if name not in known:
            raise ValueError(
                f"Unknown configuration key {name!r}."
                f"{spelling.did_you_mean(name, known)} The keys are "
                f"{', '.join(known)}."
            )
        if name in values:
            raise ValueError(
                f"Expected each key once; received {name} several times."
            )
        kind, optional = kind_of(settings(config_class)[name])
        try:
            values[name] = _convert(text, kind, optional)
        except (KeyError, ValueError):
            raise ValueError(
                f"Expected a value of type {kind.__name__} for {name}; "
                f"received {text!r}."
            ) from None
    return values


def _convert(text, kind, optional):
    if optional and text.lower() == "none":
        return None
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    return kind(text)
