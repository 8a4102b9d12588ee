"""Data that are given by the names of a network's input and output."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf


def unnamed(data: Any, network: tf.keras.Model) -> Any:
    """Replaces dicts and lists of one tensor by the tensor, as Keras does.

    Args:
      data: (images[, labels[, sample_weight]]) of tensors or of their specs.
        Images may be a dict by the name of the network's input, and labels and
        sample weights by the name of its output.
      network: functional network with one input and one output.

    Returns:
      Data without dicts; unchanged if they are no tuple or list.

    Raises:
      ValueError: if a dict does not have the name.
    """
    if not isinstance(data, (tuple, list)):
        return data
    images, *others = data
    inputs = names_of(network.input, network.input_names)
    outputs = names_of(network.output, network.output_names)
    return (
        _images(images, inputs),
        *(
            _tensor(each, outputs, name)
            for each, name in zip(others, ("labels", "sample weights"))
        ),
    )


def names_of(structure: Any, names: list[str]) -> list[str]:
    """Returns the names by which Keras knows the input or output.

    Args:
      structure: `input` or `output` of a network.
      names: `input_names` or `output_names` of the network.
    """
    return list(structure) if isinstance(structure, Mapping) else list(names)


def _images(images: Any, names: list[str]) -> Any:
    """Returns images or views without names; other entries are ignored."""
    if isinstance(images, (tuple, list)):
        return tuple(_images(view, names) for view in images)
    if not isinstance(images, Mapping):
        return images
    if names[0] not in images:
        raise _unknown("images", "input", names, images)
    return images[names[0]]


def _tensor(value: Any, names: list[str], what: str) -> Any:
    """Returns the only tensor of a structure."""
    if isinstance(value, (tuple, list)) and len(value) == 1:
        return value[0]
    if not isinstance(value, Mapping):
        return value
    if list(value) != names:
        raise _unknown(what, "output", names, value)
    return value[names[0]]


def _unknown(
    what: str, end: str, names: list[str], received: Mapping[str, Any]
) -> ValueError:
    return ValueError(
        f"Expected {what} as one tensor, or as a dict by the name of the "
        f"network's {end}, {names[0]!r}; received a dict with the keys "
        f"{list(received)}."
    )
