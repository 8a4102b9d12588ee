"""Training that is interrupted and resumed from a checkpoint."""

import shutil

import numpy as np
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks

EPOCHS, STEPS = 2, 3
ATTACK = ca.PGD(0.1, targeted="random")


class Stop(Exception):
    """Simulates the loss of a machine."""


class CopyAt(tf.keras.callbacks.Callback):
    """Copies the checkpoints that a machine lost at that batch would leave."""

    def __init__(self, checkpoints, batches, source, target):
        super().__init__()
        self.checkpoints, self.left = checkpoints, batches
        self.source, self.target = source, target

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.checkpoints.wait()
            shutil.copytree(self.source, self.target)


class StopAt(tf.keras.callbacks.Callback):
    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            raise Stop


def data(checkpoints=None):
    """Batches from the position of the checkpoints; each epoch is shuffled."""
    images, labels = (
        np.concatenate(part) for part in zip(*networks.batches(STEPS))
    )
    dataset = tf.data.Dataset.from_tensor_slices((images, labels))
    dataset = dataset.shuffle(len(images), seed=1)
    dataset = dataset.batch(8, drop_remainder=True)
    epoch, step = (0, 0) if checkpoints is None else checkpoints.position
    return ca.data.resume_at(dataset, epoch, step, STEPS)


def train(
    folder=None,
    stop_at=None,
    copy_at=None,
    restore=False,
    step="conadv",
    replicas=1,
    optimizer=lambda: ca.LARS(0.5),
    attack=ATTACK,
    network=networks.small,
    after_batch=None,
    **compile_args,
):
    """Returns (model, history of the finished epochs).

    Args:
      stop_at: number of batches after which training is interrupted.
      copy_at: (batches, target); the folder is copied after these batches.
      after_batch: function of (model, checkpoints) that is called after the
        first save.
    """
    tf.keras.utils.set_random_seed(1)
    model = models.build(
        step,
        network(),
        attack,
        optimizer,
        seed=3,
        replicas=replicas,
        **compile_args,
    )
    callbacks = []
    checkpoints = None
    if folder is not None:
        checkpoints = ca.Checkpoints(folder, every_steps=1, restore=restore)
        callbacks.append(checkpoints)
    if after_batch is not None:
        callbacks.append(
            tf.keras.callbacks.LambdaCallback(
                on_train_batch_end=lambda batch, logs: (
                    batch == 0 and after_batch(model, checkpoints)
                )
            )
        )
    if copy_at is not None:
        batches, target = copy_at
        callbacks.append(CopyAt(checkpoints, batches, folder, target))
    if stop_at is not None:
        callbacks.append(StopAt(stop_at))
    images, labels = networks.batches(1, seed=9)[0]
    try:
        model.fit(
            data(checkpoints),
            validation_data=(images, labels),
            epochs=EPOCHS,
            steps_per_epoch=STEPS,
            callbacks=callbacks,
            verbose=0,
        )
    except Stop:
        if checkpoints is not None:
            checkpoints.wait()
    return model, model.history.history


def state(model):
    """The weights, the optimizer variables and the state of the step."""
    slots = model.optimizer.variables
    if callable(slots):  # Legacy optimizers have a method.
        slots = slots()
    return [
        *model.get_weights(),
        *(v.numpy() for v in tf.nest.flatten(slots)),
        *(v.numpy() for v in model.runner.saved_variables().values()),
    ]


def assert_same(one, two):
    for left, right in zip(state(one[0]), state(two[0])):
        np.testing.assert_array_equal(left, right)
    finished = len(two[1]["loss"])
    for key, values in two[1].items():
        assert one[1][key][-finished:] == values, key
