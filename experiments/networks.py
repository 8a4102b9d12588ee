"""The families of networks that a configuration can name."""

from collections.abc import Callable
import dataclasses
import re
from typing import Any

import conadv_tf as ca


@dataclasses.dataclass(frozen=True)
class Family:
    """Networks of one kind.

    label: name of a member, with fields of a `config.Network` in braces.
    fields: those that such a network has. The first tells members apart.
    members: what the first has to be, in words.
    takes: whether it is.
    build: function of (`config.Network`, number of classes, image shape).
    """

    label: str
    fields: tuple[str, ...]
    members: str
    takes: Callable[[Any], bool]
    build: Callable


def _one_of(values):
    return {
        "members": f"to be one of {', '.join(map(str, values))}",
        "takes": lambda value: value in values,
    }


FAMILIES = {
    "resnet_cifar": Family(
        label="resnet{depth}_cifar",
        fields=("depth", "width"),
        members="to be 6n + 2, as 20, 32, 44 or 56,",
        takes=lambda depth: depth >= 8 and depth % 6 == 2,
        build=lambda network, num_classes, image_shape: (
            ca.networks.resnet_cifar(
                network.depth, num_classes, image_shape, width=network.width
            )
        ),
    ),
    "resnet": Family(
        label="resnet{depth}",
        fields=("depth",),
        **_one_of(ca.networks.RESNET_DEPTHS),
        build=lambda network, num_classes, image_shape: ca.networks.resnet(
            network.depth, num_classes, image_shape
        ),
    ),
    "efficientnet": Family(
        label="efficientnet_{variant}",
        fields=("variant",),
        **_one_of(ca.networks.EFFICIENTNET_VARIANTS),
        build=lambda network, num_classes, image_shape: (
            ca.networks.efficientnet(network.variant, num_classes, image_shape)
        ),
    ),
}
NAMES = tuple(FAMILIES)
VARIANTS = ca.networks.EFFICIENTNET_VARIANTS


def label(network):
    """Name of the network of a `config.Network`, as "resnet50"."""
    return FAMILIES[network.name].label.format(**dataclasses.asdict(network))


def check_member(network):
    """Raises a ValueError if a `config.Network` is none of its family."""
    family = FAMILIES[network.name]
    field = family.fields[0]
    value = getattr(network, field)
    if not family.takes(value):
        raise ValueError(
            f"Expected network.{field} {family.members} with network.name="
            f"{network.name}; received {value!r}."
        )


# How people write the names of members, and whose members they may be.
_SPELLINGS = (
    (r"resnet[-_]?(\d+)", ("resnet", "resnet_cifar")),
    (r"resnet[-_]?(\d+)[-_]?cifar", ("resnet_cifar",)),
    (r"resnet[-_]?cifar[-_]?(\d+)", ("resnet_cifar",)),
    (r"efficientnet[-_]?(b\d+)", ("efficientnet",)),
)


def spelled(name):
    """How a configuration spells a member's name, as a sentence.

    Args:
      name: "resnet50", "ResNet20_cifar" and the like.

    Returns:
      "Write network.name=resnet with network.depth=50."; "" if there is no
      such member.
    """
    for pattern, families in _SPELLINGS:
        found = re.fullmatch(pattern, name.lower())
        for family in families if found else ():
            member = found[1] if found[1].startswith("b") else int(found[1])
            if FAMILIES[family].takes(member):
                field = FAMILIES[family].fields[0]
                return (
                    f"Write network.name={family} with network.{field}="
                    f"{member}."
                )
    return ""
