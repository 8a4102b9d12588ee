"""From a configuration to its dataset, network, attack and model."""

import dataclasses
import math

import tensorflow as tf

import conadv_tf as ca
from experiments import config as config_lib
from experiments import networks
from experiments import optimizers


def dataset(config, num_replicas):
    """The dataset of a configuration.

    Args:
      config: a `RunConfig`.
      num_replicas: replicas that share a batch.

    Returns:
      A `ca.data.Dataset`; where replicas are emulated, one batch of its
      training data is one micro-batch.
    """
    augment = None
    if config.augmentation in config_lib.AUTO_AUGMENT:
        policy = config_lib.AUTO_AUGMENT[config.augmentation]

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
        validation_fraction=config.validation_fraction,
        train_images=config.train_images,
        max_bad_records=config.max_bad_records,
        num_replicas=num_replicas,
    )


def microbatches(config, num_replicas):
    """Micro-batches of an update: emulated replicas for each real one."""
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
    """How the updates of a run are divided.

    updates: updates in all.
    epochs: calls of Keras's epoch; passes over the training set, or updates
      where one update takes more than a pass.
    batches_per_epoch: batches of the data, micro-batches included.
    """

    updates: int
    epochs: int
    batches_per_epoch: int


def schedule(config, dataset, num_replicas):
    """The `Schedule` of a configuration.

    Args:
      config: a `RunConfig`.
      dataset: its `ca.data.Dataset`.
      num_replicas: replicas that share a batch.

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
            f"Expected epochs >= {needed}: an update of "
            f"{config.global_batch_size} images takes that many passes over "
            f"the {dataset.num_train} training images; received "
            f"{config.epochs}."
        )
    return Schedule(updates, updates, number)


def test_data(dataset):
    """The test set with one-hot labels."""
    return dataset.test.map(_one_hot(dataset))


def _one_hot(dataset):
    # Only such labels can be smoothed or mixed.
    return lambda images, labels: (
        images,
        tf.one_hot(labels, dataset.num_classes),
    )


def training_data(config, dataset, schedule, epoch=0, batch=0):
    """Endless batches with one-hot labels.

    Args:
      config: a `RunConfig`.
      dataset: its `ca.data.Dataset`, not iterated yet.
      schedule: its `Schedule`.
      epoch: Keras's epoch to begin with.
      batch: batches of it to leave out.
    """
    data = dataset.train.map(_one_hot(dataset))
    if config.augmentation in ca.data.AUGMENTATIONS:
        augment = ca.data.augmentation(config.augmentation)

        def augment_last(images, labels):
            if config.views == 1:
                return augment(images, labels)
            augmented, _ = augment(images[1], labels)
            return (images[0], augmented), labels

        # Repeated before, because each iteration draws the same.
        data = data.repeat().map(augment_last)
        # What was drawn for the batches before is not known otherwise.
        return data.skip(epoch * schedule.batches_per_epoch + batch)
    # An update may go on over the end of a pass.
    passes, batch = divmod(
        epoch * schedule.batches_per_epoch + batch, dataset.steps_per_epoch
    )
    return ca.data.resume_at(
        data, passes, batch, dataset.steps_per_epoch
    ).prefetch(2)


def attack(config, schedule=None):
    """The attack of a configuration; the baseline's is only for the plot.

    Args:
      config: a `RunConfig`.
      schedule: its `Schedule`, for training; None is the attack at full
        strength.
    """
    arguments = dataclasses.asdict(config.attack)
    start, warmup = (
        arguments.pop(name) for name in ("start_epoch", "warmup_epochs")
    )
    attack = ca.PGD(**arguments)
    if schedule is None or not (start or warmup):
        return attack
    per_epoch = schedule.updates / config.epochs

    def scale(step):
        steps = tf.cast(step, tf.float32) - start * per_epoch
        return tf.where(steps < 0, 0.0, (steps + 1) / (warmup * per_epoch + 1))

    return ca.ScheduledAttack(attack, scale)


def model(config, dataset, schedule, num_replicas):
    """The compiled `ConAdvModel` of a configuration.

    Args:
      config: a `RunConfig`.
      dataset: a `ca.data.Dataset`.
      schedule: its `Schedule`.
      num_replicas: replicas that share a batch.

    Returns:
      A compiled model; call this under the strategy scope.
    """
    model = ca.ConAdvModel(
        networks.build(config.network, dataset),
        attack=None if config.tau is None else attack(config, schedule),
        staleness=config.tau,
        seed=config.seed,
        views=config.views,
        microbatches=microbatches(config, num_replicas),
        placement=config.placement,
        adversarial_weight=config.adversarial_weight,
        adversarial_fraction=config.adversarial_fraction,
        attack_pass=config.attack_pass,
        start_replaces_clean=config.start_replaces_clean,
    )
    rate = ca.WarmupPolynomialDecay(
        config.optimizer.learning_rate,
        train_steps=schedule.updates,
        # A run shorter than the warm-up warms up all the way.
        warmup_steps=schedule.updates
        * min(config.optimizer.warmup_epochs, config.epochs)
        / config.epochs,
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
