"""Label formats, targets and random wrong labels."""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf.attacks import attack_ops
from conadv_tf.attacks import loss as objectives
from tests import networks


def _losses(network, images, labels):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels, network(images)
    ).numpy()


@pytest.mark.parametrize("targeted", [None, "random"])
@pytest.mark.parametrize("loss", ["default", "keras"])
def test_label_formats_give_the_same_result(targeted, loss):
    network = networks.linear()
    images, ids = networks.batch()
    attack = ca.PGD(0.1, num_steps=2, targeted=targeted)
    keras = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss = None if loss == "default" else objectives.attack_loss(keras)
    expected = attack(network, images, ids, seed=0)
    formats = [
        ids.astype(dtype) for dtype in ("int32", "int64", "uint8", "float32")
    ] + [ids[:, None], ids[:, None].astype("float32")]
    if loss is None:
        one_hot = np.eye(networks.CLASSES)[ids]
        formats += [one_hot.astype("float32"), one_hot.astype("int32")]
    for labels in formats:
        np.testing.assert_array_equal(
            attack(network, images, labels, seed=0, loss=loss), expected
        )


# The loss of softmax regression is convex in x, so an ascent step cannot fail.
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_untargeted_attack_raises_the_loss_of_every_image(norm):
    network = networks.linear()
    images, labels = networks.batch()
    adversarial = ca.FGSM(0.1, norm=norm)(network, images, labels, seed=0)
    before = _losses(network, images, labels)
    assert (_losses(network, adversarial, labels) > before).all()


@pytest.mark.parametrize("targeted", [None, "random"])
def test_given_targets_override_targeted(targeted):
    network = networks.linear()
    images, labels = networks.batch(value_range=(0.2, 0.8))
    targets = (labels + 1) % networks.CLASSES
    attack = ca.FGSM(0.05, targeted=targeted)
    adversarial = attack(network, images, labels, seed=0, targets=targets)
    before = _losses(network, images, targets)
    assert (_losses(network, adversarial, targets) < before).all()


def test_targeted_random_descends_towards_the_drawn_labels():
    network = networks.linear()
    images, labels = networks.batch()
    seed = tf.constant([5, 7], tf.int64)
    drawn = attack_ops.random_wrong_labels(
        tf.constant(labels), networks.CLASSES, seed
    )
    np.testing.assert_array_equal(
        ca.FGSM(0.05, targeted="random")(network, images, labels, seed),
        ca.FGSM(0.05)(network, images, labels, seed, targets=drawn),
    )


# A binary classifier with one logit has one wrong label.
def test_targeted_random_with_one_logit_descends_to_the_other_class():
    network = networks.linear(num_classes=1)
    images, _ = networks.batch()
    labels = np.arange(8) % 2
    np.testing.assert_array_equal(
        ca.FGSM(0.05, targeted="random")(network, images, labels, seed=0),
        ca.FGSM(0.05)(network, images, labels, seed=0),
    )


@pytest.mark.parametrize("num_classes", [2, 5])
def test_random_wrong_labels_are_uniform_over_the_wrong_classes(num_classes):
    count = 4000
    labels = np.arange(count * num_classes) % num_classes
    wrong = attack_ops.random_wrong_labels(
        tf.constant(labels), num_classes, tf.constant([0, 0])
    )
    table = np.zeros([num_classes, num_classes])
    np.add.at(table, (labels, wrong.numpy()), 1)
    assert np.diag(table).tolist() == [0] * num_classes
    expected = count / (num_classes - 1)
    off_diagonal = table[~np.eye(num_classes, dtype=bool)]
    # Four standard deviations of a binomial count.
    assert np.abs(off_diagonal - expected).max() <= 4 * np.sqrt(expected)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0, 2, 1], "uint8"),
        np.array([[0], [2], [1]], "float32"),
        np.eye(3, dtype="float32")[[0, 2, 1]],
    ],
    ids=["ids", "column", "one-hot"],
)
def test_random_wrong_labels_keep_the_format(labels):
    wrong = attack_ops.random_wrong_labels(
        tf.constant(labels), networks.CLASSES, tf.constant([0, 0])
    )
    assert wrong.shape == labels.shape
    assert wrong.dtype == labels.dtype
    ids = wrong.numpy()
    ids = ids.argmax(axis=1) if ids.shape[-1] == 3 and ids.ndim == 2 else ids
    expected = attack_ops.random_wrong_labels(
        tf.constant([0, 2, 1]), networks.CLASSES, tf.constant([0, 0])
    )
    np.testing.assert_array_equal(ids.reshape(-1), expected)


def test_wrong_label_is_not_among_several_ones():
    rows = np.array(
        [[1, 0, 1, 0, 0], [0, 1, 1, 1, 1], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]
        + [[0.5, 0.5, 0, 0, 0]],  # A label of mixup.
        "float32",
    )
    wrong = attack_ops.random_wrong_labels(
        tf.constant(np.repeat(rows, 3000, axis=0)), 5, tf.constant([0, 0])
    )
    counts = wrong.numpy().reshape(5, 3000, 5).sum(axis=1)
    assert (counts.sum(axis=1) == 3000).all()  # A single one in each row.
    expected = np.array(
        [[0, 1, 0, 1, 1], [3, 0, 0, 0, 0], [0.6] * 5, [0] * 5, [0, 0, 1, 1, 1]]
    )
    assert np.abs(counts - 1000 * expected)[[0, 1, 2, 4]].max() < 120
