"""Training steps that users write, as in the docstring of `ca.Step`."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests import resumable


class RepeatedUpdateRunner(ca.StepRunner):
    def __call__(self, batch):
        for _ in range(self.step.updates):
            logs = self.update(batch)
        return logs


@dataclasses.dataclass(frozen=True)
class NotRegistered(ca.Step):
    updates: int = 2
    runner = RepeatedUpdateRunner
    requires_attack = False


@tf.keras.utils.register_keras_serializable(package="tests")
@dataclasses.dataclass(frozen=True)
class RepeatedUpdate(NotRegistered):
    """Makes several updates with each batch."""

    def check(self, network, attack, views):
        super().check(network, attack, views)
        if any(
            isinstance(layer, tf.keras.layers.BatchNormalization)
            for layer in network.layers
        ):
            raise ValueError(
                "Expected no batch norm, whose statistics would count each "
                f"batch {self.updates} times; received {network.name!r}."
            )


def linear():
    return networks.linear((6, 6, 1))


def sgd():
    return tf.keras.optimizers.SGD(0.5, momentum=0.9)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_two_updates_with_each_batch_equal_two_plain_steps(jit_compile):
    network, batches, trained = linear(), networks.batches(3), []
    for step, data in (
        (RepeatedUpdate(updates=2), batches),
        (ca.Plain(), [batch for batch in batches for _ in range(2)]),
    ):
        model = models.build(
            step, network, optimizer=sgd, jit_compile=jit_compile
        )
        history = model.fit(networks.dataset(data), verbose=0).history
        assert model.optimizer.iterations.numpy() == 6
        trained.append((model, history))
    (repeated, history), (plain, plain_history) = trained
    networks.assert_same_weights(repeated, plain)
    assert history == plain_history


def test_save_and_load(tmp_path):
    data = networks.dataset(networks.batches(2))
    model = models.build(RepeatedUpdate(updates=3), linear())
    model.fit(data, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = tf.keras.models.load_model(tmp_path / "model.keras")
    assert loaded.step == model.step == RepeatedUpdate(updates=3)
    np.testing.assert_array_equal(
        loaded.predict(data, verbose=0), model.predict(data, verbose=0)
    )
    for each in (model, loaded):
        each.fit(data, verbose=0)
        assert each.optimizer.iterations.numpy() == 12
    networks.assert_same_weights(loaded, model)


def test_a_step_that_is_not_registered_trains_but_is_not_saved(tmp_path):
    model = models.build(NotRegistered(), linear())
    model.fit(networks.dataset(networks.batches(2)), verbose=0)
    assert model.optimizer.iterations.numpy() == 4
    with pytest.raises(
        ValueError,
        match=r"register_keras_serializable.*NotRegistered\(updates=2\).*"
        "save_weights.*export_network",
    ):
        model.save(tmp_path / "model.keras")


def test_continued_equals_uninterrupted(tmp_path):
    network, data = linear(), networks.dataset(networks.batches(3))

    def train(epochs, *callbacks):
        model = models.build(RepeatedUpdate(), network, optimizer=sgd)
        model.fit(data, epochs=epochs, callbacks=callbacks, verbose=0)
        return model, model.history.history

    train(1, ca.Checkpoints(tmp_path))  # At the end of each epoch.
    continued = train(2, ca.Checkpoints(tmp_path, restore=True))
    resumable.assert_same(train(2), continued)


@pytest.mark.parametrize(
    "network, attack, message",
    [
        (networks.small, None, "Expected no batch norm.*batch 2 times"),
        (
            linear,
            ca.FGSM(0.1),
            r"attack=None with step=RepeatedUpdate\(.*received FGSM\(",
        ),
    ],
)
def test_arguments_that_do_not_fit(network, attack, message):
    with pytest.raises(ValueError, match=message):
        ca.ConAdvModel(network(), attack, step=RepeatedUpdate())


def test_a_step_without_a_runner_is_named():
    @dataclasses.dataclass(frozen=True)
    class Unfinished(ca.Step):
        requires_attack = False

    model = ca.ConAdvModel(networks.linear(), None, step=Unfinished())
    with pytest.raises(ValueError, match="Unfinished.runner.*StepRunner"):
        model.compile("sgd", networks.LOSS)


class OnlyCleanRunner(ca.StepRunner):
    def __call__(self, batch):
        return self.update(batch)


@dataclasses.dataclass(frozen=True)
class OnlyClean(ca.Step):
    runner = OnlyCleanRunner


# It trained with half of the loss.
def test_an_update_without_adversarial_images_is_refused():
    model = models.build(OnlyClean(), networks.linear((6, 6, 1)))
    with pytest.raises(ValueError, match="without .'adversarial'"):
        model.train_on_batch(*networks.batches(1)[0])


class OtherConcurrent(ca.Concurrent):
    runner = OnlyCleanRunner


class Undecorated(ca.Concurrent):
    rate: int = 3


def test_subclasses_of_a_step():
    with pytest.raises(ValueError, match="microbatches=1 with OtherConcurrent"):
        models.build(OtherConcurrent(microbatches=2), networks.linear())
    with pytest.raises(ValueError, match=r"\['rate'\] are no fields. Decorate"):
        models.build(Undecorated(), networks.linear())


def test_constructor_arguments_stay():
    model = models.build("conadv", networks.linear())
    with pytest.raises(AttributeError, match="step to stay Concurrent"):
        model.step = ca.Plain()
