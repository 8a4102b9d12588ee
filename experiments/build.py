"""Builds the dataset, attack and model that a configuration describes."""

import dataclasses
import math

import tensorflow as tf

import conadv_tf as ca
from experiments import digits_policy
from experiments import networks
from experiments import optimizers

# {augmentation of single images: its policy}.
POLICIES = {
    "autoaugment": "imagenet",
    "autoaugment_cifar": "cifar",
    "autoaugment_digits": digits_policy.DIGITS,
}


def dataset(config, num_replicas):
    """Loads the dataset of a configuration.

    Args:
      config: a `RunConfig`.
      num_replicas: number of replicas that share a batch.

    Returns:
      A `ca.data.Dataset`. If replicas are emulated, a batch of its training
      data is a micro-batch.
    """
    augment = None
    if config.augmentation in POLICIES:
        policy = POLICIES[config.augmentation]

        def augment(image, seed):
            return ca.data.auto_augment(image, seed, policy)

    return ca.data.load(
        config.dataset,
        config.global_batch_size // microbatches(config, num_replicas),
        seed=config.seed,
        data_dir=config.data_dir,
        drop_remainder=config.drop_remainder,
        image_size=config.image_size,
        views=config.views,
        augment=augment,
        padding=config.padding,
        mirror=config.mirror,
        holdout=config.holdout,
        validation_fraction=config.validation_fraction,
        train_images=config.train_images,
        max_bad_records=config.max_bad_records,
        num_replicas=num_replicas,
    )


def microbatches(config, num_replicas):
    """Returns the micro-batches per update: emulated replicas per replica."""
    if config.emulate_replicas is None:
        return 1
    if config.emulate_replicas % num_replicas:
        raise ValueError(
            f"Expected emulate_replicas to be a multiple of {num_replicas}, "
            f"the number of replicas; received {config.emulate_replicas}."
        )
    return config.emulate_replicas // num_replicas


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The number of updates of a run and their division into Keras epochs.

    Attributes:
      updates: updates of the whole run.
      epochs: Keras epochs. One is a pass over the training set, or a single
        update if an update needs more than a pass.
      batches_per_epoch: batches of the data per Keras epoch; micro-batches
        count as batches.
    """

    updates: int
    epochs: int
    batches_per_epoch: int


def schedule(config, dataset, num_replicas):
    """Returns the `Schedule` of a configuration.

    Args:
      config: a `RunConfig`.
      dataset: its `ca.data.Dataset`.
      num_replicas: number of replicas that share a batch.

    Raises:
      ValueError: if the run is shorter than one update.
    """
    number = microbatches(config, num_replicas)
    per_epoch = dataset.steps_per_epoch // number
    if per_epoch:
        return Schedule(
            config.epochs * per_epoch, config.epochs, per_epoch * number
        )
    updates = config.epochs * dataset.steps_per_epoch // number
    if not updates:
        needed = math.ceil(number / dataset.steps_per_epoch)
        raise ValueError(
            f"Expected epochs >= {needed}, because an update of "
            f"{config.global_batch_size} images takes that many passes over "
            f"the {dataset.num_train} training images; received "
            f"{config.epochs}."
        )
    return Schedule(updates, updates, number)


def test_data(dataset):
    """Returns the test set of a `ca.data.Dataset` with one-hot labels."""
    return dataset.test.map(_one_hot(dataset))


def _one_hot(dataset):
    # Label smoothing and mixing need one-hot labels.
    return lambda images, labels: (
        images,
        tf.one_hot(labels, dataset.num_classes),
    )


def training_data(config, dataset, schedule, epoch=0, batch=0):
    """Returns endless training batches with one-hot labels.

    Args:
      config: a `RunConfig`.
      dataset: its `ca.data.Dataset`, not iterated yet.
      schedule: its `Schedule`.
      epoch: Keras epoch to begin with.
      batch: number of batches of this epoch to skip.
    """
    data = dataset.train.map(_one_hot(dataset))
    if config.augmentation in ca.data.AUGMENTATIONS:
        augment = ca.data.augmentation(config.augmentation)

        def augment_last_view(images, labels):
            if config.views == 1:
                return augment(images, labels)
            augmented, _ = augment(images[1], labels)
            return (images[0], augmented), labels

        # An iteration always draws the same augmentations, so that a single
        # iteration covers all epochs. To resume it, all earlier batches have
        # to be augmented, too.
        data = data.repeat().map(augment_last_view)
    # An update can extend over the end of a pass.
    passes, batch = divmod(
        epoch * schedule.batches_per_epoch + batch, dataset.steps_per_epoch
    )
    return ca.data.resume_at(
        data, passes, batch, dataset.steps_per_epoch
    ).prefetch(2)


def attack(config, schedule=None):
    """Returns the attack of a configuration.

    The baseline has one too, for the plot of adversarial examples.

    Args:
      config: a `RunConfig`.
      schedule: its `Schedule`, for training; None returns the attack at full
        strength.
    """
    arguments = dataclasses.asdict(config.attack)
    warmup = arguments.pop("warmup_epochs")
    attack = ca.PGD(**arguments)
    if schedule is None or not warmup:
        return attack
    per_epoch = schedule.updates / config.epochs

    def scale(step):
        return (tf.cast(step, tf.float32) + 1) / (warmup * per_epoch + 1)

    return ca.ScheduledAttack(attack, scale)


def step(options, **changes):
    """Returns the `ca.Step` of a `steps.Step`, with some options changed."""
    step_class = getattr(ca, type(options).__name__)
    return step_class(**{**dataclasses.asdict(options), **changes})


def model(config, dataset, schedule, num_replicas):
    """Builds and compiles the `ca.ConAdvModel` of a configuration.

    Call this in the scope of the distribution strategy.

    Args:
      config: a `RunConfig`.
      dataset: its `ca.data.Dataset`.
      schedule: its `Schedule`.
      num_replicas: number of replicas that share a batch.
    """
    changes = {}
    if config.emulate_replicas is not None:
        changes["microbatches"] = microbatches(config, num_replicas)
    chosen = step(config.step, **changes)
    if config.conditions.is_delayed:
        chosen = ca.Delayed(chosen, **dataclasses.asdict(config.conditions))
    model = ca.ConAdvModel(
        networks.build(config.network, dataset),
        None if config.tau is None else attack(config, schedule),
        step=chosen,
        seed=config.seed,
        views=config.views,
    )
    # The warm-up of a run that is shorter than it takes the whole run.
    warmup_epochs = min(config.optimizer.warmup_epochs, config.epochs)
    rate = ca.WarmupPolynomialDecay(
        config.optimizer.learning_rate,
        train_steps=schedule.updates,
        warmup_steps=schedule.updates * warmup_epochs / config.epochs,
        power=config.optimizer.power,
        end_learning_rate=config.optimizer.end_learning_rate,
    )
    model.compile(
        optimizer=optimizers.build(config.optimizer, rate),
        loss=tf.keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=config.label_smoothing
        ),
        metrics=["accuracy"],
        jit_compile=config.jit_compile,
        steps_per_execution=config.steps_per_execution,
    )
    return model
