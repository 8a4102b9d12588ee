"""Fields of a configuration that know which values they take."""

import dataclasses
import typing

from conadv_tf import spelling


def bounded(default, values, remedy=lambda value: ""):
    """A field of a dataclass that takes certain values only.

    Args:
      default: its default.
      values: tuple of all of them; or an interval of numbers, as "[0, 1)".
      remedy: function of a value that is none of them, which returns a
        sentence that says what to write instead, or "".

    Returns:
      A `dataclasses.Field`, for `check`.
    """
    return dataclasses.field(
        default=default, metadata={"values": values, "remedy": remedy}
    )


def check(group, prefix=""):
    """Raises a ValueError that names the first field with a wrong value.

    Args:
      group: dataclass. Fields annotated with Optional take None as well.
      prefix: before the names of its fields, as "attack.".
    """
    for field in dataclasses.fields(group):
        value = getattr(group, field.name)
        kind, optional = kind_of(field.type)
        if value is None and optional:
            continue
        values = field.metadata.get("values")
        if not _is_a(value, kind):
            expected = f"to be of type {kind.__name__}"
        elif values is None or _takes(values, value):
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


def kind_of(annotation):
    """(type, whether None is taken) of an annotation."""
    options = typing.get_args(annotation) or (annotation,)
    return options[0], type(None) in options


def _is_a(value, kind):
    if isinstance(value, bool):  # Python counts it as a number.
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _takes(values, value):
    if not isinstance(values, str):
        return value in values
    low, high = (float(end) for end in values[1:-1].split(","))
    # NaN is in no interval.
    return (low < value if values[0] == "(" else low <= value) and (
        value < high if values[-1] == ")" else value <= high
    )


def _remedy(field, value):
    """What to do about a value, with a space before it; or ""."""
    said = field.metadata.get("remedy", str)(value)
    values = field.metadata.get("values")
    if not said and isinstance(values, tuple) and isinstance(value, str):
        return spelling.did_you_mean(value, values)
    return f" {said}" if said else ""
