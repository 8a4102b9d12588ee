"""The configuration of a run: frozen dataclasses, and overrides by name."""

import dataclasses
import functools
import re
import typing
from typing import Optional

from conadv_tf import data
from conadv_tf import distribution
from experiments.digits_policy import DIGITS

METHODS = ("baseline", "disadv", "conadv")
PLACEMENTS = ("local", "phased")
# Of one image before batching, and of keras-cv after it.
AUTO_AUGMENT = {
    "autoaugment": "imagenet",
    "autoaugment_cifar": "cifar",
    "autoaugment_digits": DIGITS,
}
AUGMENTATIONS = (*AUTO_AUGMENT, *data.AUGMENTATIONS)
NETWORKS = ("resnet_cifar", "resnet", "efficientnet")


@dataclasses.dataclass(frozen=True)
class Attack:
    """Arguments of `ca.PGD`, images in [0, 1], and when it sets in."""

    epsilon: float = 0.1  # Radius in pixel units: 25 of 255 grey levels.
    num_steps: int = 1
    step_size: Optional[float] = None  # None: epsilon for one step.
    random_start: float = 0.8  # Probability; the authors' code.
    norm: str = "linf"
    targeted: Optional[str] = None  # "random": the authors' code.
    start_epoch: float = 0.0  # Before it, images are not perturbed.
    warmup_epochs: float = 0.0  # From there on, until epsilon is full.


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Arguments of `ca.LARS` and its schedule."""

    learning_rate: float = 4.0  # Peak.
    warmup_epochs: float = 5.0
    power: float = 1.6  # Of the polynomial decay; the authors' code.
    end_learning_rate: float = 1e-4
    momentum: float = 0.9
    weight_decay: float = 1e-4
    trust_coefficient: float = 0.001
    nesterov: bool = False
    decay_in_norm: bool = False


@dataclasses.dataclass(frozen=True)
class Network:
    """What is trained."""

    name: str = "resnet_cifar"
    depth: int = 20  # Of ResNets: 6n + 2 for small ones, else 18 to 152.
    width: int = 16  # Channels of the first stage of a small ResNet.
    variant: str = "b2"  # Of EfficientNet.
    # Of moving statistics, per update; None: the network's own.
    batch_norm_momentum: Optional[float] = None


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that defines a run."""

    method: str = "conadv"
    dataset: str = "digits"
    image_size: Optional[int] = None  # None: the images' own, or 224.
    augmentation: Optional[str] = None  # Of the only or the second view.
    max_bad_records: int = 0
    global_batch_size: int = 128
    # Together: this many replicas of this many images are emulated exactly,
    # and global_batch_size is their product.
    emulate_replicas: Optional[int] = None
    per_replica_batch_size: Optional[int] = None
    epochs: int = 30
    staleness: int = 1  # tau of "conadv"; "disadv" is 0.
    placement: str = "local"  # Of "conadv"; "phased" has replicas in threes.
    label_smoothing: float = 0.1
    adversarial_weight: float = 1.0  # Of the adversarial loss; others' is 1.
    seed: int = 0
    strategy: str = "auto"
    tpu: Optional[str] = None
    precision: str = "float32"  # Or mixed_bfloat16, mixed_float16.
    jit_compile: bool = False
    steps_per_execution: int = 1
    drop_remainder: bool = True
    max_skipped_steps: int = 10  # With a gradient that is not finite.
    data_dir: Optional[str] = None
    # Of the training images; evaluates on them in place of the test set.
    validation_fraction: Optional[float] = None
    tensorboard: bool = False  # Writes <model_dir>/tensorboard.
    profile_batches: Optional[str] = None  # "first,last" batch to profile.
    drift_every: Optional[int] = None  # Steps; measures staleness's drift.
    attack: Attack = dataclasses.field(default_factory=Attack)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    network: Network = dataclasses.field(default_factory=Network)

    def __post_init__(self):
        """Raises a ValueError for values that no library class checks."""
        for name, allowed in (
            ("method", METHODS),
            ("placement", PLACEMENTS),
            ("strategy", distribution.NAMES),
            ("precision", ("float32", "mixed_bfloat16", "mixed_float16")),
            ("augmentation", (None, *AUGMENTATIONS)),
        ):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(
                    f"Expected {name} to be one of {allowed}; received "
                    f"{value!r}."
                )
        for name in ("global_batch_size", "epochs", "steps_per_execution"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"Expected {name} >= 1; received {getattr(self, name)}."
                )
        if self.method == "conadv" and self.staleness < 1:
            raise ValueError(
                "Expected staleness >= 1 for method conadv; received "
                f"{self.staleness}. Staleness 0 is --method=disadv."
            )
        if self.placement == "phased" and self.method != "conadv":
            raise ValueError(
                "Expected method conadv with placement phased; received "
                f"{self.method}, whose replicas all do the same."
            )
        self._check_emulation()
        if self.augmentation in data.MIXING and self.method != "baseline":
            raise ValueError(
                f"Expected method baseline with augmentation "
                f"{self.augmentation}, which mixes labels: the views of an "
                f"image share theirs. Received {self.method}."
            )
        if self.profile_batches is not None and not re.fullmatch(
            r"\d+,\d+", self.profile_batches
        ):
            raise ValueError(
                "Expected profile_batches like '20,40', the first and the last "
                f"batch; received {self.profile_batches!r}."
            )
        if self.drift_every is not None:
            self._check_drift()
        momentum = self.network.batch_norm_momentum
        if momentum is not None and not 0 <= momentum < 1:
            raise ValueError(
                "Expected network.batch_norm_momentum in [0, 1), or None for "
                f"the network's own; received {momentum}."
            )
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(
                "Expected label_smoothing in [0, 1); received "
                f"{self.label_smoothing}."
            )

    def _check_drift(self):
        if self.drift_every < 1:
            raise ValueError(
                f"Expected drift_every >= 1, or None; received "
                f"{self.drift_every}."
            )
        if self.method != "conadv" or self.placement != "local":
            raise ValueError(
                "Expected method conadv and placement local with drift_every: "
                "others keep no stale weights to measure. Received "
                f"{self.method} and {self.placement}."
            )

    def _check_emulation(self):
        pair = self.emulate_replicas, self.per_replica_batch_size
        if pair == (None, None):
            return
        if None in pair or min(pair) < 1:
            raise ValueError(
                "Expected emulate_replicas and per_replica_batch_size, both "
                f"of them and both >= 1; received {pair[0]} and {pair[1]}."
            )
        object.__setattr__(self, "global_batch_size", pair[0] * pair[1])

    @property
    def split(self):
        """What is evaluated on: "test" or "validation"."""
        return "test" if self.validation_fraction is None else "validation"

    @property
    def views(self):
        """Training views of an image; adversarial methods keep a clean one."""
        return 2 if self.augmentation and self.method != "baseline" else 1


def from_dict(values):
    """The `Config` whose `dataclasses.asdict` these values are.

    Args:
      values: dict, as in the config.json of a run; fields that it lacks have
        their defaults.

    Raises:
      ValueError: if a field does not exist.
    """
    groups = {"attack": Attack, "optimizer": Optimizer, "network": Network}
    try:
        return Config(
            **{
                name: groups[name](**value) if name in groups else value
                for name, value in values.items()
            }
        )
    except TypeError as error:
        raise ValueError(
            f"Expected the configuration of a run; received {values} ({error})."
        ) from None


def differing(before, now):
    """What two configurations differ in.

    Args:
      before: a `Config`, of a run that is there.
      now: a `Config`, asked for.

    Returns:
      Text for each field that differs, with both values; empty if none does.
    """
    found = []
    for name in names(now):
        there, received = (_value(each, name) for each in (before, now))
        if there != received:
            found.append(f"{name} is {there!r} there, received {received!r}")
    return found


def _value(config, name):
    return functools.reduce(getattr, name.split("."), config)


def override(config, assignments):
    """Returns a config with fields replaced.

    Args:
      config: a `Config`.
      assignments: strings "field=value" or "group.field=value", for example
        "optimizer.momentum=0.95". "none" is None.

    Returns:
      A new `Config`, validated again.

    Raises:
      ValueError: if a field does not exist or a value does not fit its type.
    """
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator:
            raise ValueError(
                "Expected key=value, for example optimizer.momentum=0.95; "
                f"received {assignment!r}."
            )
        config = _replace(config, key.strip().split("."), text.strip(), key)
    return config


def names(config, prefix=""):
    """All field names of a config, groups spelled out with dots."""
    found = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found += names(value, f"{prefix}{field.name}.")
        else:
            found.append(prefix + field.name)
    return found


def _replace(config, path, text, key):
    fields = {field.name: field for field in dataclasses.fields(config)}
    name, rest = path[0], path[1:]
    value = getattr(config, name, None) if name in fields else None
    if name not in fields or bool(rest) != dataclasses.is_dataclass(value):
        raise ValueError(
            f"Unknown configuration key {key!r}; the keys are "
            f"{', '.join(names(Config()))}."
        )
    if rest:
        new = _replace(value, rest, text, key)
    else:
        new = _parse(text, fields[name].type, key)
    return dataclasses.replace(config, **{name: new})


def _parse(text, annotation, key):
    options = typing.get_args(annotation) or (annotation,)
    if text.lower() == "none" and type(None) in options:
        return None
    kind = options[0]
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text)
    except (KeyError, ValueError):
        raise ValueError(
            f"Expected a value of type {kind.__name__} for {key}; received "
            f"{text!r}."
        ) from None
