"""The configuration of a run.

Importing this module does not import TensorFlow, which takes seconds, so that
wrong flags are reported at once.
"""

import dataclasses
import re
from typing import Optional

from experiments import config_fields
from experiments import methods
from experiments.attack import AttackConfig
from experiments.config_fields import bounded
from experiments.networks import NetworkConfig
from experiments.optimizers import OptimizerConfig
from experiments.start import StartConfig
from experiments.steps import Step

DATASETS = ("digits", "cifar10", "cifar100", "imagenet2012")
# Policies that augment single images; the others, of keras-cv, augment batches.
AUTO_AUGMENT = ("autoaugment", "autoaugment_cifar", "autoaugment_digits")
MIXING = ("mixup", "cutmix")  # These change labels.
AUGMENTATIONS = (*AUTO_AUGMENT, "randaugment", "augmix", *MIXING)
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """All settings of a run.

    Attributes:
      method: name of one of `methods.BASE_METHODS`.
      dataset: name of a dataset, "folder:PATH" or "npz:PATH".
      image_size: height and width of the images; None keeps the size of the
        dataset, or 224 if its images differ in size.
      augmentation: augmentation of the training images, for adversarial
        methods of a second view of each; None is no augmentation.
      padding: width of the zeros around a small training image before its
        random crop; None is the default of the dataset.
      mirror: whether half of the training images are mirrored; None is the
        default of the dataset.
      train_images: size of a class-balanced subset of the training images,
        which the seed selects; None takes all.
      max_bad_records: images that may be skipped because they cannot be
        decoded or have no valid label.
      global_batch_size: images per update over all replicas. With
        `emulate_replicas` it is computed.
      emulate_replicas: number of replicas to emulate exactly, each with
        `per_replica_batch_size` images. Set both or neither.
      per_replica_batch_size: images of an emulated replica.
      epochs: passes over the training images.
      label_smoothing: label smoothing of the loss.
      seed: seed of all random numbers, in the range of NumPy's seeds.
      strategy: distribution strategy.
      tpu: name or address of a TPU.
      precision: Keras mixed-precision policy.
      jit_compile: whether to compile with XLA.
      steps_per_execution: batches per call of the training function.
      drop_remainder: whether to drop the last incomplete batch of an epoch.
      max_skipped_steps: steps that may be skipped because their gradient is
        not finite.
      data_dir: folder or bucket of prepared tensorflow-datasets.
      holdout: fraction of the training images to hold out as the test set of a
        dataset without one; else None.
      validation_fraction: fraction of the training images to evaluate on
        instead of the test set; None evaluates on the test set.
      evaluate_every: epochs between evaluations. The last epoch always has one.
      tensorboard: whether to write <model_dir>/tensorboard.
      profile_batches: "first,last" batch to profile, or None.
      drift_every: steps between measurements of the drift due to staleness;
        None measures none.
      smoke_test: whether `smoke_test.scale_down` made the configuration, whose
        accuracy is not a result then.
      step: the options of the training step, a `steps.Step` of the class
        that the method selects; None is that class with its defaults.
      attack: the attack.
      start: when the attack starts; without a condition the method says it.
      optimizer: the optimizer and learning rate schedule.
      network: the network.
    """

    method: str = bounded("conadv", tuple(methods.BASE_METHODS))
    dataset: str = "digits"
    image_size: Optional[int] = bounded(None, "[1, inf)")
    augmentation: Optional[str] = bounded(None, AUGMENTATIONS)
    padding: Optional[int] = bounded(None, "[0, inf)")
    mirror: Optional[bool] = None
    train_images: Optional[int] = bounded(None, "[1, inf)")
    max_bad_records: int = bounded(0, "[0, inf)")
    global_batch_size: int = bounded(128, "[1, inf)")
    emulate_replicas: Optional[int] = bounded(None, "[1, inf)")
    per_replica_batch_size: Optional[int] = bounded(None, "[1, inf)")
    epochs: int = bounded(30, "[1, inf)")
    label_smoothing: float = bounded(0.1, "[0, 1)")
    seed: int = bounded(0, "[0, 4294967296)")
    strategy: str = bounded("auto", STRATEGIES)
    tpu: Optional[str] = None
    precision: str = bounded(
        "float32", ("float32", "mixed_bfloat16", "mixed_float16")
    )
    jit_compile: bool = False
    steps_per_execution: int = bounded(1, "[1, inf)")
    drop_remainder: bool = True
    max_skipped_steps: int = bounded(10, "[0, inf)")
    data_dir: Optional[str] = None
    holdout: Optional[float] = bounded(None, "(0, 1)")
    validation_fraction: Optional[float] = bounded(None, "(0, 1)")
    evaluate_every: int = bounded(1, "[1, inf)")
    tensorboard: bool = False
    profile_batches: Optional[str] = None
    drift_every: Optional[int] = bounded(None, "[1, inf)")
    smoke_test: bool = config_fields.internal(False)
    step: Optional[Step] = config_fields.selected(
        "method", methods.STEP_CLASSES, hidden=("microbatches",)
    )
    attack: AttackConfig = dataclasses.field(default_factory=AttackConfig)
    start: StartConfig = dataclasses.field(default_factory=StartConfig)
    optimizer: OptimizerConfig = dataclasses.field(
        default_factory=OptimizerConfig
    )
    network: NetworkConfig = dataclasses.field(default_factory=NetworkConfig)

    def __post_init__(self):
        """Raises a ValueError for wrong values and wrong combinations."""
        self._set_step()
        config_fields.check(self)
        if self.drift_every and not self.tau:
            raise ValueError(
                "Expected a method with stale weights (conadv, shared_pass or "
                f"rotating_roles) with drift_every; received {self.method}."
            )
        reads_copy = self.method == "conadv"
        if self.drift_every and self.steps_per_execution > 1 and not reads_copy:
            raise ValueError(
                "Expected steps_per_execution 1 with drift_every and method "
                f"{self.method}, whose attacks read no copy of the weights; "
                f"received {self.steps_per_execution}."
            )
        if self.augmentation in MIXING and self.tau is not None:
            raise ValueError(
                f"Expected method baseline with augmentation "
                f"{self.augmentation}, which mixes labels, because the views "
                f"of an image share its label. Received {self.method}."
            )
        if self.profile_batches is not None and not re.fullmatch(
            r"\d+,\d+", self.profile_batches
        ):
            raise ValueError(
                "Expected profile_batches like '20,40', the first and the last "
                f"batch; received {self.profile_batches!r}."
            )
        self._check_start()
        self._check_emulation()

    def _set_step(self):
        """Sets the default step, or makes one of a dict of options."""
        expected = methods.STEP_CLASSES.get(self.method)
        if expected is None:
            return  # `config_fields.check` names the methods.
        step = self.step
        if step is None or isinstance(step, dict):
            step = expected(**(step or {}))
        if type(step) is not expected:
            raise ValueError(
                f"Expected a step of class {expected.__name__} with method "
                f"{self.method}; received {step!r}. Change the method too."
            )
        if step.microbatches != 1:
            raise ValueError(
                "Expected step.microbatches=1; received "
                f"{step.microbatches}. Set emulate_replicas instead."
            )
        object.__setattr__(self, "step", step)

    def _check_start(self):
        start = self.conditions
        if start.epoch is not None and start.epoch >= self.epochs:
            raise ValueError(
                "Expected start.epoch < epochs; received "
                f"{start.epoch} and {self.epochs}, with which the attack would "
                "never start."
            )
        for name, value in (
            ("attack.warmup_epochs", self.attack.warmup_epochs),
            ("drift_every", self.drift_every),
        ):
            if start.is_delayed and value:
                raise ValueError(
                    f"Expected no {name} with {start}, whose attack starts "
                    f"during the run; received {value!r}. Leave one out."
                )

    def _check_emulation(self):
        pair = self.emulate_replicas, self.per_replica_batch_size
        if pair == (None, None):
            return
        if None in pair:
            raise ValueError(
                "Expected both emulate_replicas and per_replica_batch_size; "
                f"received {pair[0]} and {pair[1]}."
            )
        if not self.drop_remainder:
            raise ValueError(
                "Expected drop_remainder=True with emulate_replicas, because "
                "a smaller last batch would be divided among the replicas. "
                "Received False."
            )
        fields = dataclasses.fields(self.step)
        if "microbatches" not in [field.name for field in fields]:
            raise ValueError(
                "Expected method baseline, disadv or conadv with "
                f"emulate_replicas; received {self.method}, whose updates "
                "cannot be divided into micro-batches."
            )
        object.__setattr__(self, "global_batch_size", pair[0] * pair[1])

    @property
    def tau(self):
        """Staleness of the attack's weights in updates; None without attack."""
        return self.step.staleness

    @property
    def conditions(self):
        """When the attack starts, a `StartConfig`."""
        default = methods.BASE_METHODS[self.method].start
        return self.start if self.start.is_delayed else default

    @property
    def dataset_stem(self):
        """The name of the dataset in a form for file names."""
        return re.sub(r"[/:]+", "_", self.dataset)

    @property
    def split(self):
        """The split that is evaluated: "test" or "validation"."""
        return "test" if self.validation_fraction is None else "validation"

    @property
    def views(self):
        """Number of views of a training image.

        Adversarial methods keep the clean view beside an augmented one. An
        attack that starts later perturbs the augmented images, on which the
        plain steps train.
        """
        if self.tau is None or self.conditions.is_delayed:
            return 1
        return 2 if self.augmentation else 1


def from_dict(values):
    """Returns the `RunConfig` of the content of a config.json.

    Args:
      values: dict from `dataclasses.asdict`. Missing fields get their defaults.

    Raises:
      ValueError: if a field does not exist or has a wrong value.
    """
    return config_fields.from_dict(RunConfig, values)
