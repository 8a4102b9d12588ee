"""Training on (clean, augmented) pairs: three batch norm branches."""

import numpy as np
import pytest

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import slow


def _pairs(count=4, size=8):
    """A dataset of ((clean, augmented), labels)."""
    return networks.dataset(networks.batches(count, size)).map(
        lambda images, labels: ((images, 0.5 * images), labels)
    )


@pytest.mark.parametrize("method", [slow("disadv"), "conadv"])
def test_fit_logs_each_part_and_evaluate_takes_plain_images(method):
    model = models.build(method, views=2)
    plain = networks.dataset(networks.batches(2))
    history = model.fit(
        _pairs(), validation_data=plain, epochs=2, verbose=0
    ).history
    assert list(history) == [
        "loss",
        "clean_loss",
        "augmented_loss",
        "adversarial_loss",
        "accuracy",
        "adversarial_accuracy",
        "val_loss",
        "val_accuracy",
        "skipped_steps",
    ]
    parts = [history[f"{part}_loss"] for part in ("clean", "augmented")]
    mean = (np.sum(parts, axis=0) + history["adversarial_loss"]) / 3
    np.testing.assert_allclose(history["loss"], mean, rtol=1e-5)
    # Half as bright images have other statistics: branches are apart.
    norm = next(
        layer
        for layer in model.network.layers
        if isinstance(layer, ca.SplitBatchNormalization)
    )
    clean, augmented, _ = (
        branch.moving_variance.numpy() for branch in norm.branch_layers
    )
    assert (augmented < clean).all()


def test_arrays_and_a_smaller_last_batch():
    (images, labels), *_ = networks.batches(1, size=20)
    model = models.build(views=2)
    model.fit((images, 0.5 * images), labels, batch_size=8, verbose=0)
    assert int(model.optimizer.iterations) == 3


@pytest.mark.slow
def test_two_replicas_equal_one():
    network = networks.linear((6, 6, 1))
    one, two = (
        models.build(
            network=network,
            attack=ca.PGD(0.1, norm="l2"),
            optimizer=lambda: ca.LARS(0.05),
            views=2,
            replicas=replicas,
        )
        for replicas in (1, 2)
    )
    for model in (one, two):
        model.fit(_pairs(), verbose=0)
    networks.assert_same_weights(one, two, 1e-4, 1e-6)


def test_augmented_images_out_of_range_stop_training():
    data = _pairs().map(lambda x, y: ((x[0], 255.0 * x[0]), y))
    with pytest.raises(ValueError, match=r"8 image\(s\) lie outside"):
        models.build(views=2).fit(data, verbose=0)


def test_data_with_another_number_of_views():
    plain = networks.dataset(networks.batches(2))
    with pytest.raises(ValueError, match="with views=2, the structure"):
        models.build(views=2).fit(plain, verbose=0)
    with pytest.raises(ValueError, match="with views=1, the structure"):
        models.build().fit(_pairs(), verbose=0)


def test_two_branches_are_too_few():
    network = ca.split_batch_norm(networks.small(), 2)
    with pytest.raises(
        ValueError, match="augmented, auxiliary.*network with 2"
    ):
        ca.ConAdvModel(network, ca.PGD(0.1), views=2)
