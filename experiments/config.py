"""The configuration of a run: frozen dataclasses that check themselves."""

import dataclasses
import re
from typing import Optional

from conadv_tf import data
from conadv_tf import distribution
from conadv_tf.attacks import attack_ops
from conadv_tf.attacks import radius
from conadv_tf.steps import ATTACK_PASSES
from conadv_tf.steps import PLACEMENTS
from experiments import config_fields
from experiments import methods
from experiments import networks
from experiments.config_fields import bounded
from experiments.digits_policy import DIGITS

# Of one image before batching, and of keras-cv after it.
AUTO_AUGMENT = {
    "autoaugment": "imagenet",
    "autoaugment_cifar": "cifar",
    "autoaugment_digits": DIGITS,
}
AUGMENTATIONS = (*AUTO_AUGMENT, *data.AUGMENTATIONS)


@dataclasses.dataclass(frozen=True)
class Attack:
    """Arguments of `ca.PGD`, images in [0, 1], and when it sets in."""

    # Radius in pixel units: 25 of 255 grey levels.
    epsilon: float = bounded(0.1, "[0, inf)")
    num_steps: int = bounded(1, "[1, inf)")
    # None: epsilon for one step.
    step_size: Optional[float] = bounded(None, "(0, inf)")
    # Probability; the authors' code.
    random_start: float = bounded(0.8, "[0, 1]")
    norm: str = bounded("linf", attack_ops.NORMS)
    # "random": the authors' code.
    targeted: Optional[str] = bounded(None, ("random",))
    # Before it, images are not perturbed.
    start_epoch: float = bounded(0.0, "[0, inf)")
    # From there on, until epsilon is full.
    warmup_epochs: float = bounded(0.0, "[0, inf)")

    def __post_init__(self):
        """Raises a ValueError for a wrong value."""
        config_fields.check(self, "attack.")
        radius.check_largest(
            self.epsilon, self.step_size, self.norm, (0.0, 1.0), "attack."
        )


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """Arguments of `ca.LARS`, or of LAMB, and their schedule."""

    # LAMB is tensorflow-addons's.
    name: str = bounded("lars", ("lars", "lamb"))
    learning_rate: float = bounded(4.0, "(0, inf)")  # Peak.
    warmup_epochs: float = bounded(5.0, "[0, inf)")
    # Of the polynomial decay; the authors' code.
    power: float = bounded(1.6, "(0, inf)")
    end_learning_rate: float = bounded(1e-4, "[0, inf)")
    momentum: float = bounded(0.9, "[0, 1)")
    weight_decay: float = bounded(1e-4, "[0, inf)")
    trust_coefficient: float = bounded(0.001, "(0, inf)")
    nesterov: bool = False
    decay_in_norm: bool = False

    def __post_init__(self):
        """Raises a ValueError for a wrong value."""
        config_fields.check(self, "optimizer.")
        if self.end_learning_rate > self.learning_rate:
            raise ValueError(
                "Expected optimizer.end_learning_rate <= "
                f"optimizer.learning_rate; received {self.end_learning_rate} "
                f"and {self.learning_rate}: the rate would rise to the end."
            )
        if self.name == "lamb" and self.learning_rate >= 1:
            raise ValueError(
                "Expected optimizer.learning_rate < 1 with optimizer.name="
                "lamb, which changes each weight by that part of its norm; "
                f"received {self.learning_rate}. Begin with 0.08."
            )


@dataclasses.dataclass(frozen=True)
class Network:
    """What is trained; `networks.FAMILIES` says who has which field."""

    name: str = bounded("resnet_cifar", networks.NAMES, networks.spelled)
    # Of ResNets: 6n + 2 for small ones, else 18 to 152.
    depth: int = bounded(20, "[1, inf)")
    # Channels of the first stage of a small ResNet.
    width: int = bounded(16, "[1, inf)")
    # Of EfficientNet.
    variant: str = bounded("b2", networks.VARIANTS)
    # Of moving statistics, per update; None: the network's own.
    batch_norm_momentum: Optional[float] = bounded(None, "[0, 1)")

    def __post_init__(self):
        """Raises a ValueError for a wrong value."""
        config_fields.check(self, "network.")
        networks.check_member(self)


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that defines a run."""

    method: str = bounded("conadv", tuple(methods.TRAINED))
    dataset: str = "digits"
    # None: the images' own, or 224.
    image_size: Optional[int] = bounded(None, "[1, inf)")
    # Of the only or the second view.
    augmentation: Optional[str] = bounded(None, AUGMENTATIONS)
    # Zeros around a small training image before its crop; None: the usual.
    padding: Optional[int] = bounded(None, "[0, inf)")
    # As many of each class, chosen by the seed; None: all.
    train_images: Optional[int] = bounded(None, "[1, inf)")
    max_bad_records: int = bounded(0, "[0, inf)")
    global_batch_size: int = bounded(128, "[1, inf)")
    # Together: this many replicas of this many images are emulated exactly,
    # and global_batch_size is their product.
    emulate_replicas: Optional[int] = bounded(None, "[1, inf)")
    per_replica_batch_size: Optional[int] = bounded(None, "[1, inf)")
    epochs: int = bounded(30, "[1, inf)")
    # tau of methods with stale weights; see the property.
    staleness: int = bounded(1, "[0, inf)")
    # Of methods with stale weights; "phased" has replicas in threes.
    placement: str = bounded("local", PLACEMENTS)
    label_smoothing: float = bounded(0.1, "[0, 1)")
    # Of the adversarial loss; others' is 1.
    adversarial_weight: float = bounded(1.0, "[0, inf)")
    # Of each local batch: the part that is attacked.
    adversarial_fraction: float = bounded(1.0, "(0, 1]")
    # Of conadv: "shared" has one forward and one backward pass in all.
    attack_pass: str = bounded("own", ATTACK_PASSES)
    # Of a shared pass: start images instead of clean ones.
    start_replaces_clean: bool = False
    seed: int = bounded(0, "[0, 4294967296)")  # As NumPy has it.
    strategy: str = bounded("auto", distribution.NAMES)
    tpu: Optional[str] = None
    precision: str = bounded(
        "float32", ("float32", "mixed_bfloat16", "mixed_float16")
    )
    jit_compile: bool = False
    steps_per_execution: int = bounded(1, "[1, inf)")
    drop_remainder: bool = True
    # With a gradient that is not finite.
    max_skipped_steps: int = bounded(10, "[0, inf)")
    data_dir: Optional[str] = None
    # Of the training images; evaluates on them in place of the test set.
    validation_fraction: Optional[float] = bounded(None, "(0, 1)")
    # Epochs from one evaluation to the next; the last one ends with one too.
    evaluate_every: int = bounded(1, "[1, inf)")
    tensorboard: bool = False  # Writes <model_dir>/tensorboard.
    profile_batches: Optional[str] = None  # "first,last" batch to profile.
    # Steps; measures staleness's drift.
    drift_every: Optional[int] = bounded(None, "[1, inf)")
    # Whether `smoke_test.shrink` made it: what comes out is no result.
    rehearsal: bool = False
    attack: Attack = dataclasses.field(default_factory=Attack)
    optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
    network: Network = dataclasses.field(default_factory=Network)

    def __post_init__(self):
        """Raises a ValueError for wrong values, and such as exclude others."""
        config_fields.check(self)
        if methods.TRAINED[self.method].staleness and not self.staleness:
            raise ValueError(
                f"Expected staleness >= 1 for method {self.method}; received "
                "0. Staleness 0 is --method=disadv."
            )
        if self.placement == "phased" and not self.tau:
            raise ValueError(
                "Expected method conadv with placement phased; received "
                f"{self.method}, whose replicas all do the same."
            )
        if self.attack_pass == "shared" and not self.tau:
            raise ValueError(
                "Expected method conadv with attack_pass shared, whose "
                f"direction is one update old; received {self.method}."
            )
        if self.drift_every and not self.tau:
            raise ValueError(
                "Expected method conadv with drift_every: attacks of others "
                f"are not of stale weights. Received {self.method}."
            )
        keeps_none = self.placement != "local" or self.attack_pass != "own"
        if self.drift_every and keeps_none and self.steps_per_execution > 1:
            raise ValueError(
                "Expected steps_per_execution 1 with drift_every where attacks "
                "read no copy of the weights (placement phased, attack_pass "
                f"shared); received {self.steps_per_execution}."
            )
        if self.augmentation in data.MIXING and self.tau is not None:
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
        if self.attack.start_epoch >= self.epochs:
            raise ValueError(
                f"Expected attack.start_epoch < epochs; received "
                f"{self.attack.start_epoch:g} and {self.epochs}: there would "
                "be no attack."
            )
        self._check_emulation()

    def _check_emulation(self):
        pair = self.emulate_replicas, self.per_replica_batch_size
        if pair == (None, None):
            return
        if None in pair:
            raise ValueError(
                "Expected emulate_replicas and per_replica_batch_size, both "
                f"of them; received {pair[0]} and {pair[1]}."
            )
        if not self.drop_remainder:
            raise ValueError(
                "Expected drop_remainder with emulate_replicas: replicas would "
                "share the images of a last smaller batch. Received False."
            )
        if self.placement != "local":
            raise ValueError(
                "Expected placement local with emulate_replicas: elsewhere a "
                "replica normalizes more than its share. Received "
                f"{self.placement}."
            )
        object.__setattr__(self, "global_batch_size", pair[0] * pair[1])

    @property
    def tau(self):
        """Updates that the attack's weights are behind; None: no attack."""
        own = methods.TRAINED[self.method].staleness
        return self.staleness if own else own

    @property
    def dataset_stem(self):
        """The dataset, as a part of a file's name."""
        return re.sub(r"[/:]+", "_", self.dataset)

    @property
    def split(self):
        """What is evaluated on: "test" or "validation"."""
        return "test" if self.validation_fraction is None else "validation"

    @property
    def views(self):
        """Training views of an image; adversarial methods keep a clean one."""
        return 2 if self.augmentation and self.tau is not None else 1


GROUPS = {"attack": Attack, "optimizer": Optimizer, "network": Network}


def from_dict(values):
    """The `Config` whose `dataclasses.asdict` these values are.

    Args:
      values: dict, as in the config.json of a run; fields that it lacks have
        their defaults.

    Raises:
      ValueError: if a field does not exist, or has a wrong value.
    """
    try:
        return Config(
            **{
                name: GROUPS[name](**value) if name in GROUPS else value
                for name, value in values.items()
            }
        )
    except TypeError as error:
        raise ValueError(
            f"Expected the configuration of a run; received {values} ({error})."
        ) from None
