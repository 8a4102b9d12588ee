"""Datasets, networks, attacks and models that configurations describe."""

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.data import digits
from experiments import build
from experiments import config as config_lib
from experiments import methods
from experiments import networks
from experiments import smoke_test
from tests.marks import all_slow_but
from tests.marks import slow

SMALL = config_lib.NetworkConfig(depth=8, width=4)


def _config(**kwargs):
    return config_lib.RunConfig(**{"network": SMALL, **kwargs})


def _emulated(replicas, size, **kwargs):
    return _config(
        emulate_replicas=replicas, per_replica_batch_size=size, **kwargs
    )


# 1297 training images.
@pytest.mark.parametrize(
    "config, replicas, expected",
    [
        (_config(epochs=3), 1, (30, 3, 10)),
        (_config(epochs=3, drop_remainder=False), 1, (33, 3, 11)),
        (_emulated(4, 32, epochs=3), 1, (30, 3, 40)),
        (_emulated(4, 32, epochs=3), 2, (30, 3, 20)),
        # An update takes 32 batches of 96 images, an epoch has 13 of them.
        (_emulated(32, 96, epochs=5), 1, (2, 2, 32)),
    ],
)
def test_schedule(config, replicas, expected):
    dataset = build.dataset(config, replicas)
    schedule = build.schedule(config, dataset, replicas)
    assert dataclasses.astuple(schedule) == expected


@pytest.mark.parametrize("mirror", [None, True])
def test_training_images_are_mirrored_on_request(mirror):
    plain = build.dataset(_config(), 1).train
    dataset = build.dataset(_config(mirror=mirror), 1).train
    mirrored = [
        not np.array_equal(image, original)
        and np.array_equal(image, original[:, ::-1])
        for (images, _), (originals, _) in zip(dataset, plain)
        for image, original in zip(images.numpy(), originals.numpy())
    ]
    share = 0.5 if mirror else 0
    assert np.mean(mirrored) == pytest.approx(share, abs=0.06)


def test_a_run_has_at_least_one_update():
    config = _emulated(32, 96, epochs=2)
    dataset = build.dataset(config, 1)
    with pytest.raises(ValueError, match="epochs >= 3.*3072.*received 2"):
        build.schedule(config, dataset, 1)


def test_emulated_replicas_are_a_multiple_of_the_replicas():
    with pytest.raises(ValueError, match="multiple of 3.*received 4"):
        build.microbatches(_emulated(4, 32), 3)


# The digits are stored by writer. Validation takes the last training images and
# never a test image.
def test_validation_is_the_end_of_the_training_images():
    stored = digits._stored_digits()[0][:1297]
    config = _config(validation_fraction=0.25, global_batch_size=973)
    dataset = build.dataset(config, 1)
    assert (dataset.num_train, dataset.num_test) == (973, 324)
    held_out = np.concatenate([batch for batch, _ in dataset.test])
    np.testing.assert_array_equal(np.round(held_out * 255), stored[973:])
    ((trained, _),) = dataset.train
    trained = np.round(trained * 255).astype(np.uint8)
    assert sorted(i.tobytes() for i in trained) == sorted(
        i.tobytes() for i in stored[:973]
    )


# Plain training gets augmented images only, adversarial training both views.
@pytest.mark.parametrize(
    "method, name",
    [
        ("baseline", None),
        ("conadv", None),
        slow("baseline", "autoaugment_digits"),
        ("conadv", "autoaugment_digits"),
    ],
)
def test_views(method, name):
    config = _config(method=method, augmentation=name)
    dataset = build.dataset(config, 1)
    schedule = build.schedule(config, dataset, 1)
    data = build.training_data(config, dataset, schedule).take(2)
    images, labels = next(iter(data))
    assert labels.shape == (128, 10) and labels.dtype == tf.float32
    views = images if isinstance(images, tuple) else (images,)
    assert len(views) == config.views == (2 if name and "con" in method else 1)
    for view in views:
        assert view.shape == (128, 8, 8, 1)
        assert 0 <= view.numpy().min() < view.numpy().max() <= 1
    levels = np.unique(np.round(views[0] * 255))
    assert (len(levels) == 17) == (config.views == 2 or not name)


@pytest.mark.parametrize(
    "network, name",
    [
        (SMALL, "resnet8_cifar"),
        (config_lib.NetworkConfig("resnet", depth=18), "resnet18"),
        pytest.param(
            config_lib.NetworkConfig("efficientnet", variant="b0"),
            "efficientnet_b0",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_networks(network, name):
    dataset = types.SimpleNamespace(num_classes=10, image_shape=(32, 32, 3))
    built = networks.build(network, dataset)
    assert built.name == name
    assert built.output_shape == (None, 10)
    other = dataclasses.replace(network, batch_norm_momentum=0.25)
    built = networks.build(other, dataset)
    momenta = {getattr(layer, "momentum", 0.25) for layer in built.layers}
    assert momenta == {0.25}


# keras-cv augments batches of the last view.
@pytest.mark.parametrize(
    "method, name",
    [
        slow("baseline", "augmix"),
        slow("conadv", "randaugment"),
        ("baseline", "mixup"),
    ],
)
def test_views_after_batching(method, name):
    config = smoke_test.prepare(
        _config(method=method, augmentation=name, dataset="imagenet2012")
    )
    dataset = build.dataset(config, 1)
    schedule = build.schedule(config, dataset, 1)
    data = build.training_data(config, dataset, schedule)
    (images, labels), *_ = data.take(1)
    views = images if isinstance(images, tuple) else (images,)
    assert len(views) == config.views
    assert all(view.shape == (8, 32, 32, 3) for view in views)
    mixed = np.unique(labels.numpy()).size > 2
    assert mixed == (name == "mixup")
    if config.views == 2:
        assert not np.allclose(*views)


@pytest.mark.parametrize(
    "method",
    all_slow_but(["baseline", "conadv"], methods.BASE_METHODS),
)
def test_the_model_has_the_step_of_the_method(method):
    config = _config(method=method)
    dataset = build.dataset(config, 1)
    schedule = build.schedule(config, dataset, 1)
    model = build.model(config, dataset, schedule, 1)
    step = build.step(methods.BASE_METHODS[method].step)
    if method == "delayed":
        step = ca.Delayed(step, accuracy=0.95, update=50)
    assert model.step == step


# With 10 updates an epoch the radius grows by 1/11 with each update.
def test_an_attack_with_a_warmup():
    attack = config_lib.AttackConfig(warmup_epochs=1)
    config = _config(epochs=5, attack=attack)
    schedule = build.Schedule(updates=50, epochs=5, batches_per_epoch=10)
    scale = build.attack(config, schedule).schedule
    values = [float(scale(tf.constant(t, tf.int64))) for t in range(11)]
    np.testing.assert_allclose(values, np.arange(1, 12) / 11, 1e-6)
    assert isinstance(build.attack(config), ca.PGD)
    assert isinstance(build.attack(_config(), schedule), ca.PGD)
