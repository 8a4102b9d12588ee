"""The networks that a configuration can name."""

from collections.abc import Collection
import dataclasses
import re
from typing import Any
from typing import Optional

from experiments import config_fields
from experiments.config_fields import bounded


@dataclasses.dataclass(frozen=True)
class Family:
    """A family of networks with the same constructor in `ca.networks`.

    The constructor is a function of (first field, number of classes, image
    shape) and, as keyword arguments, the other fields.

    Attributes:
      label: name of a member, with fields of `NetworkConfig` in braces.
      fields: names of the fields of `NetworkConfig` that the family uses. The
        first one selects the member.
      members: values of the first field.
      expected: the members in words, for an error message.
    """

    label: str
    fields: tuple[str, ...]
    members: Collection[Any]
    expected: str


def _one_of(values):
    return f"one of {', '.join(map(str, values))}"


RESNET_DEPTHS = (18, 34, 50, 101, 152)
VARIANTS = ("b0", "b1", "b2", "b3")
# {name of the constructor in `ca.networks`: its `Family`}.
FAMILIES = {
    "resnet_cifar": Family(
        "resnet{depth}_cifar",
        ("depth", "width"),
        range(8, 1_000_000, 6),
        "6n + 2, such as 20, 32, 44 or 56,",
    ),
    "resnet": Family(
        "resnet{depth}",
        ("depth",),
        RESNET_DEPTHS,
        _one_of(RESNET_DEPTHS),
    ),
    "efficientnet": Family(
        "efficientnet_{variant}",
        ("variant",),
        VARIANTS,
        _one_of(VARIANTS),
    ),
}
# {common name without its number and separators: families it may mean}.
_COMMON_NAMES = {
    "resnet": ("resnet", "resnet_cifar"),
    "resnetcifar": ("resnet_cifar",),
    "efficientnet": ("efficientnet",),
}


def remedy(name):
    """Returns how to configure a network that is given by a common name.

    Args:
      name: "resnet50", "ResNet20_cifar" and the like.

    Returns:
      "Write network.name=resnet with network.depth=50.", or "" if no family
      has such a member.
    """
    found = re.search(r"b?\d+", name.lower())
    if found:
        member = found[0] if found[0].startswith("b") else int(found[0])
        stem = re.sub(r"[-_]", "", name.lower().replace(found[0], "", 1))
        for family in _COMMON_NAMES.get(stem, ()):
            if member in FAMILIES[family].members:
                field = FAMILIES[family].fields[0]
                return (
                    f"Write network.name={family} with network.{field}="
                    f"{member}."
                )
    return ""


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """The network to train.

    Attributes:
      name: family; `FAMILIES` lists the fields that each family uses.
      depth: layers of a ResNet: 18 to 152 for "resnet", 6n + 2 for
        "resnet_cifar".
      width: channels in the first stage of a "resnet_cifar".
      variant: size of an EfficientNet, such as "b2".
      batch_norm_momentum: momentum of the moving statistics, per update; None
        keeps the momentum of the network.
    """

    name: str = bounded("resnet_cifar", tuple(FAMILIES), remedy)
    depth: int = bounded(20, "[1, inf)")
    width: int = bounded(16, "[1, inf)")
    variant: str = bounded("b2", VARIANTS)
    batch_norm_momentum: Optional[float] = bounded(None, "[0, 1)")

    def __post_init__(self):
        """Raises a ValueError for wrong values."""
        config_fields.check(self, "network.")
        family = FAMILIES[self.name]
        value = getattr(self, family.fields[0])
        if value not in family.members:
            raise ValueError(
                f"Expected network.{family.fields[0]} to be {family.expected} "
                f"with network.name={self.name}; received {value!r}."
            )

    @property
    def label(self):
        """Name of the network, such as "resnet50"."""
        return FAMILIES[self.name].label.format(**vars(self))


def build(config, dataset):
    """Builds the Keras network of a `NetworkConfig`.

    Args:
      config: a `NetworkConfig`.
      dataset: a `ca.data.Dataset`, for its `num_classes` and `image_shape`.
    """
    # Importing this module must not import TensorFlow, which takes seconds.
    import tensorflow as tf

    import conadv_tf as ca

    member, *others = FAMILIES[config.name].fields
    network = getattr(ca.networks, config.name)(
        getattr(config, member),
        dataset.num_classes,
        dataset.image_shape,
        **{field: getattr(config, field) for field in others},
    )
    if config.batch_norm_momentum is not None:
        for layer in network.layers:
            if isinstance(layer, tf.keras.layers.BatchNormalization):
                layer.momentum = config.batch_norm_momentum
    return network
