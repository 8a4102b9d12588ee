"""FGSM and PGD: closed forms, constraints, label formats, randomness."""

import json

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import attacks
from conadv_tf.attacks import loss as objectives
from conadv_tf.attacks import perturbation
from tests import networks

CLASSES = 3
# Rounding of x + epsilon in float32 for |x| <= 2: half an ulp is 1.2e-7.
ROUNDING = 5e-7


def _batch(size=8, value_range=(0.0, 1.0), shape=(2, 2, 1), seed=0):
    rng = np.random.default_rng(seed)
    images = rng.uniform(*value_range, size=(size, *shape))
    labels = rng.integers(CLASSES, size=size)
    return images.astype(np.float32), labels


def _distance(adversarial, images, norm):
    flat = np.reshape(adversarial - images, [len(images), -1])
    order = np.inf if norm == "linf" else 2
    return np.linalg.norm(flat.astype(np.float64), order, axis=1)


def _losses(network, images, labels):
    return tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels, network(images)
    ).numpy()


# --- Values -----------------------------------------------------------------


def _numpy_pgd(weights, x, y, attack):
    """PGD on softmax regression: grad_x of the loss is (p - onehot) W^T."""
    w, b = (p.astype(np.float64) for p in weights)
    adversarial = x = x.reshape(len(x), -1).astype(np.float64)
    for _ in range(attack.num_steps):
        logits = adversarial @ w + b
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        gradient = (p - np.eye(CLASSES)[y]) @ w.T
        if attack.norm == "linf":
            step = np.sign(gradient)
        else:
            step = gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
        perturbation = adversarial + attack.step_size * step - x
        if attack.norm == "linf":
            perturbation = np.clip(
                perturbation, -attack.epsilon, attack.epsilon
            )
        else:
            length = np.linalg.norm(perturbation, axis=1, keepdims=True)
            perturbation *= np.minimum(1, attack.epsilon / length)
        adversarial = np.clip(x + perturbation, *attack.value_range)
    return adversarial


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 2.0)])
@pytest.mark.parametrize(
    "make",
    [
        lambda **kwargs: ca.FGSM(0.3, **kwargs),
        lambda **kwargs: ca.PGD(0.3, None, 5, False, **kwargs),
        # Steps that do not reach the ball's surface.
        lambda **kwargs: ca.PGD(0.3, 0.04, 4, False, **kwargs),
    ],
    ids=["fgsm", "pgd", "pgd-short"],
)
def test_linear_network_equals_closed_form(make, value_range, norm):
    network = networks.linear()
    images, labels = _batch(16, value_range)
    attack = make(norm=norm, value_range=value_range)
    adversarial = attack(network, images, labels, seed=0).numpy()
    # float32 against float64: a few ulps for each of five steps.
    np.testing.assert_allclose(
        adversarial.reshape(16, -1),
        _numpy_pgd(network.get_weights(), images, labels, attack),
        atol=2e-6,
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("step_size", [None, 0.1])
def test_one_full_step_without_start_is_fgsm(norm, step_size):
    network = networks.convolutional()
    images, labels = _batch(shape=(6, 6, 1))
    pgd = ca.PGD(0.1, step_size, 1, random_start=False, norm=norm)
    np.testing.assert_array_equal(
        pgd(network, images, labels, seed=0),
        ca.FGSM(0.1, norm=norm)(network, images, labels, seed=0),
    )


def test_default_step_size_is_2_5_epsilon_over_steps():
    assert ca.PGD(0.2).step_size == pytest.approx(0.2)
    assert ca.PGD(0.2, num_steps=10).step_size == pytest.approx(0.05)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("step_size", [None, 0.1])
@pytest.mark.parametrize("random_start", [False, True])
def test_epsilon_0_returns_the_images_bit_for_bit(
    norm, step_size, random_start
):
    images, labels = _batch()
    images[0], images[1] = 0.0, 1.0
    attack = ca.PGD(0.0, step_size, 2, random_start, norm=norm)
    np.testing.assert_array_equal(
        attack(networks.linear(), images, labels, seed=0), images
    )


# --- Constraints ------------------------------------------------------------


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("num_steps", [1, 4])
@pytest.mark.parametrize("random_start", [False, 0.5, True])
@pytest.mark.parametrize("targeted", [None, "random"])
@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 2.0)])
def test_result_stays_in_the_ball_and_the_range(
    norm, num_steps, random_start, targeted, value_range
):
    epsilon = 0.3
    attack = ca.PGD(
        epsilon,
        step_size=0.5,  # Overshoots, so that projection has work to do.
        num_steps=num_steps,
        random_start=random_start,
        value_range=value_range,
        norm=norm,
        targeted=targeted,
    )
    images, labels = _batch(8, value_range)
    images[0], images[1] = value_range
    adversarial = attack(networks.linear(), images, labels, seed=3)
    assert adversarial.dtype == tf.float32
    assert adversarial.shape == images.shape
    adversarial = adversarial.numpy()
    assert np.isfinite(adversarial).all()
    low, high = value_range
    assert adversarial.min() >= low and adversarial.max() <= high
    distance = _distance(adversarial, images, norm)
    assert distance.max() <= epsilon + ROUNDING
    # Those in the middle of the range get to the surface of the ball.
    assert distance[2:].max() == pytest.approx(epsilon, abs=1e-5)


# L2: an image whose gradient is 0, or so small that its square underflows.
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    "scale, moves", [(0.0, False), (1e-30, True)], ids=["zero", "tiny"]
)
def test_vanishing_gradients_stay_finite(norm, scale, moves):
    gradient = tf.constant([[3.0, -4.0]]) * scale
    moved = perturbation.ascent_step(
        tf.zeros([1, 2]), gradient, step_size=1.0, norm=norm
    )
    direction = [[1.0, -1.0]] if norm == "linf" else [[0.6, -0.8]]
    expected = np.multiply(direction, float(moves))
    np.testing.assert_allclose(moved, expected, rtol=1e-6)


# --- Labels and targets -----------------------------------------------------


@pytest.mark.parametrize("targeted", [None, "random"])
@pytest.mark.parametrize("loss", ["default", "keras"])
def test_label_formats_give_the_same_result(targeted, loss):
    network = networks.linear()
    images, ids = _batch()
    attack = ca.PGD(0.1, num_steps=2, targeted=targeted)
    keras = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss = None if loss == "default" else objectives.attack_loss(keras)
    expected = attack(network, images, ids, seed=0)
    formats = [
        ids.astype(dtype) for dtype in ("int32", "int64", "uint8", "float32")
    ] + [ids[:, None], ids[:, None].astype("float32")]
    if loss is None:
        one_hot = np.eye(CLASSES)[ids]
        formats += [one_hot.astype("float32"), one_hot.astype("int32")]
    for labels in formats:
        np.testing.assert_array_equal(
            attack(network, images, labels, seed=0, loss=loss), expected
        )


# The loss of softmax regression is convex in x, so an ascent step cannot fail.
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_untargeted_attack_raises_the_loss_of_every_image(norm):
    network = networks.linear()
    images, labels = _batch()
    adversarial = ca.FGSM(0.1, norm=norm)(network, images, labels, seed=0)
    before = _losses(network, images, labels)
    assert (_losses(network, adversarial, labels) > before).all()


@pytest.mark.parametrize("targeted", [None, "random"])
def test_given_targets_are_approached_whatever_the_mode(targeted):
    network = networks.linear()
    images, labels = _batch(value_range=(0.2, 0.8))
    targets = (labels + 1) % CLASSES
    attack = ca.FGSM(0.05, targeted=targeted)
    adversarial = attack(network, images, labels, seed=0, targets=targets)
    before = _losses(network, images, targets)
    assert (_losses(network, adversarial, targets) < before).all()


def test_targeted_random_approaches_the_drawn_labels():
    network = networks.linear()
    images, labels = _batch()
    seed = tf.constant([5, 7], tf.int64)
    drawn = perturbation.random_wrong_labels(tf.constant(labels), CLASSES, seed)
    np.testing.assert_array_equal(
        ca.FGSM(0.05, targeted="random")(network, images, labels, seed),
        ca.FGSM(0.05)(network, images, labels, seed, targets=drawn),
    )


# A binary classifier with one logit has one wrong label.
def test_targeted_random_with_one_logit_approaches_the_other_class():
    network = networks.linear(num_classes=1)
    images, _ = _batch()
    labels = np.arange(8) % 2
    np.testing.assert_array_equal(
        ca.FGSM(0.05, targeted="random")(network, images, labels, seed=0),
        ca.FGSM(0.05)(network, images, labels, seed=0),
    )


@pytest.mark.parametrize("num_classes", [2, 5])
def test_random_wrong_labels_are_uniform_over_the_wrong_classes(num_classes):
    count = 4000
    labels = np.arange(count * num_classes) % num_classes
    wrong = perturbation.random_wrong_labels(
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
    wrong = perturbation.random_wrong_labels(
        tf.constant(labels), CLASSES, tf.constant([0, 0])
    )
    assert wrong.shape == labels.shape
    assert wrong.dtype == labels.dtype
    ids = wrong.numpy()
    ids = ids.argmax(axis=1) if ids.shape[-1] == 3 and ids.ndim == 2 else ids
    expected = perturbation.random_wrong_labels(
        tf.constant([0, 2, 1]), CLASSES, tf.constant([0, 0])
    )
    np.testing.assert_array_equal(ids.reshape(-1), expected)


# --- Random start -----------------------------------------------------------


@pytest.mark.parametrize("probability", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_start_moves_that_share_of_the_examples(probability, norm):
    count = 2000
    images = np.full([count, 2, 2, 1], 0.5, np.float32)
    attack = ca.PGD(0.1, step_size=1e-6, random_start=probability, norm=norm)
    adversarial = attack(
        networks.linear(), images, np.zeros(count, int), seed=0
    )
    # Farther than the gradient step of 1e-6 goes; a start so near the image
    # has probability 1e-5 ** 4.
    share = (_distance(adversarial.numpy(), images, norm) > 1e-5).mean()
    deviation = np.sqrt(probability * (1 - probability) / count)
    assert abs(share - probability) <= 4 * deviation


def test_linf_start_is_uniform_in_the_cube():
    starts = perturbation.random_start(
        tf.zeros([3000, 3, 3]), 0.5, "linf", 1.0, tf.constant([0, 0])
    )
    unit = starts.numpy().ravel() / 0.5
    assert -1.0 <= unit.min() and unit.max() < 1.0
    # Standard errors: sqrt(1/3/27000) = 0.0035 of the mean, and
    # sqrt(4/45/27000) = 0.0018 of the variance 1/3.
    assert abs(unit.mean()) < 0.014
    assert abs(unit.var() - 1 / 3) < 0.0073


def test_l2_start_is_uniform_in_the_ball():
    dimensions, count = 9, 4000
    starts = perturbation.random_start(
        tf.zeros([count, 3, 3]), 0.5, "l2", 1.0, tf.constant([0, 0])
    )
    flat = starts.numpy().reshape(count, dimensions) / 0.5
    radius = np.linalg.norm(flat, axis=1)
    # radius ** dimensions is uniform in [0, 1]: mean 1/2, variance 1/12.
    # Four standard errors: 4 * sqrt(1/12/4000) and 4 * sqrt(1/180/4000).
    volume = radius**dimensions
    assert volume.max() <= 1.0 + 1e-5
    assert abs(volume.mean() - 0.5) < 0.0183
    assert abs(volume.var() - 1 / 12) < 0.0047
    # Directions have mean 0 and covariance I / dimensions.
    direction = flat / radius[:, None]
    np.testing.assert_allclose(direction.mean(axis=0), 0.0, atol=0.022)
    np.testing.assert_allclose(
        np.cov(direction.T), np.eye(dimensions) / dimensions, atol=0.012
    )


# Each draw has a stream of its own. With 4 dimensions, one Philox counter per
# example, shared streams would choose examples and radii by the direction.
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_choice_radius_and_direction_are_independent(norm):
    count = 4000
    starts = perturbation.random_start(
        tf.zeros([count, 4]), 1.0, norm, 0.5, tf.constant([0, 0])
    ).numpy()
    moved = starts[starts.any(axis=1)]
    # Four standard errors; the variance is 1/3 in the cube, 1/6 in the ball.
    error = 4 * np.sqrt(1 / 3 / len(moved))
    np.testing.assert_allclose(moved.mean(axis=0), 0.0, atol=error)
    radius = np.linalg.norm(moved, axis=1)
    for direction in (moved / radius[:, None]).T:
        correlation = np.corrcoef(radius, direction)[0, 1]
        assert abs(correlation) < 4 / np.sqrt(len(moved))


def test_targets_are_independent_of_the_start():
    count = 4000
    seed = tf.constant([0, 0])
    starts = perturbation.random_start(
        tf.zeros([count, 4]), 1.0, "linf", 1.0, seed
    )
    wrong = perturbation.random_wrong_labels(tf.zeros(count), CLASSES, seed)
    for coordinate in starts.numpy().T:
        correlation = np.corrcoef(coordinate, wrong)[0, 1]
        assert abs(correlation) < 4 / np.sqrt(count)


def test_same_seed_repeats_and_other_seeds_or_steps_do_not():
    network = networks.linear()
    images, labels = _batch()
    attack = ca.PGD(0.1, step_size=0.01)

    def run(seed):
        return attack(network, images, labels, seed).numpy()

    np.testing.assert_array_equal(run(3), run(3))
    np.testing.assert_array_equal(run(3), run(tf.constant([3, 0])))
    results = [run(3), run(4), run([3, 1]), run([3, 2]), run([4, 1])]
    for i, first in enumerate(results):
        for second in results[:i]:
            assert (first != second).any(axis=(1, 2, 3)).all()


# The start of an example does not say in which direction the next one starts.
def test_examples_start_at_different_points():
    starts = perturbation.random_start(
        tf.zeros([50, 5]), 1.0, "linf", 1.0, tf.constant([0, 0])
    )
    assert len(np.unique(starts.numpy())) == 250


# --- Networks ---------------------------------------------------------------


def test_keras_model_runs_in_inference_mode_and_keeps_its_statistics():
    network = networks.convolutional()
    rng = np.random.default_rng(0)
    network.set_weights(
        [w + rng.uniform(0.1, 0.5, w.shape) for w in network.get_weights()]
    )
    before = network.get_weights()
    images, labels = _batch(shape=(6, 6, 1))
    attack = ca.FGSM(0.1)
    adversarial = attack(network, images, labels, seed=0).numpy()

    def run(training):
        return attack(
            lambda x: network(x, training=training), images, labels, seed=0
        ).numpy()

    np.testing.assert_array_equal(adversarial, run(training=False))
    for weight, old in zip(network.get_weights(), before):
        np.testing.assert_array_equal(weight, old)
    assert (adversarial != run(training=True)).any()


# At 0.5 to 1 neighbouring bfloat16 numbers are 2**-8 apart, so that a step of
# 0.001 would vanish or double if the attack computed in the network's dtype.
def test_bfloat16_network_gets_float32_perturbations():
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        network = networks.linear()
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
    assert network(np.zeros([1, 2, 2, 1], np.float32)).dtype == tf.bfloat16
    images, labels = _batch(value_range=(0.5, 0.99))
    adversarial = ca.FGSM(0.001)(network, images, labels, seed=0)
    assert adversarial.dtype == tf.float32
    np.testing.assert_allclose(
        np.abs(adversarial.numpy() - images), 0.001, atol=ROUNDING
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targeted", [None, "random"])
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("batch_size", [None, 8])
def test_inside_tf_function_equals_eager(
    norm, targeted, jit_compile, batch_size
):
    network = networks.linear()
    images, labels = _batch()
    attack = ca.PGD(0.1, 0.05, 2, 0.8, norm=norm, targeted=targeted)

    @tf.function(
        jit_compile=jit_compile,
        input_signature=[
            tf.TensorSpec([batch_size, 2, 2, 1]),
            tf.TensorSpec([batch_size], tf.int64),
        ],
    )
    def compiled(images, labels):
        return attack(network, images, labels, seed=[0, 1])

    # Random bits are equal; XLA fuses multiplications and additions, which
    # changes the last bits (of the inverse normal distribution for L2).
    np.testing.assert_allclose(
        compiled(images, labels),
        attack(network, images, labels, seed=[0, 1]),
        atol=2e-6,
    )


def test_no_gradient_flows_through_the_result():
    network = networks.linear()
    images, labels = _batch()
    with tf.GradientTape() as tape:
        adversarial = ca.FGSM(0.1)(network, images, labels, seed=0)
        loss = tf.reduce_sum(adversarial)
    assert tape.gradient(loss, network.trainable_variables) == [None, None]


# --- Errors and serialization -----------------------------------------------


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"epsilon": -0.25}, r"epsilon >= 0.* received -0\.25"),
        ({"epsilon": float("nan")}, "epsilon >= 0.* received nan"),
        ({"epsilon": float("inf")}, "epsilon >= 0.* received inf"),
        ({"step_size": 0}, "step_size > 0.* received 0"),
        ({"step_size": -0.5}, r"step_size > 0.* received -0\.5"),
        ({"num_steps": 0}, "num_steps .* received 0"),
        ({"num_steps": 1.5}, r"num_steps .* received 1\.5"),
        ({"random_start": -0.1}, r"random_start .* received -0\.1"),
        ({"random_start": 1.5}, r"random_start .* received 1\.5"),
        ({"norm": "l1"}, "norm .*linf.*l2.* received 'l1'"),
        ({"targeted": "least_likely"}, "received 'least_likely'"),
        ({"value_range": (1.0, 0.0)}, r"low < high.* received \(1\.0, 0\.0\)"),
        ({"value_range": 1.0}, r"low < high.* received 1\.0"),
        ({"value_range": (0, 1, 2)}, r"received \(0, 1, 2\)"),
    ],
    ids=str,
)
def test_bad_arguments_are_named_with_their_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        ca.PGD(**{"epsilon": 0.1, **arguments})


def test_images_out_of_range_are_counted_and_described():
    images, labels = _batch()
    images[2, 0, 0] = 1.5
    images[5, 1, 1] = -0.25
    message = r"2 image\(s\) .*\(0\.0, 1\.0\); .* from -0\.25 to 1\.5"
    with pytest.raises(ValueError, match=message):
        ca.FGSM(0.1)(networks.linear(), images, labels, seed=0)


def test_nan_images_are_out_of_range():
    images, labels = _batch()
    images[2, 0, 0] = np.nan
    with pytest.raises(ValueError, match=r"1 image\(s\) lie outside"):
        ca.FGSM(0.1)(networks.linear(), images, labels, seed=0)


def test_integer_images_are_refused():
    images = np.zeros([4, 2, 2, 1], np.uint8)
    with pytest.raises(ValueError, match="received dtype uint8"):
        ca.FGSM(0.1)(networks.linear(), images, np.zeros(4), seed=0)


@pytest.mark.parametrize(
    "network",
    [
        lambda images: tf.zeros([8, CLASSES]),
        lambda images: tf.stop_gradient(networks.linear()(images)),
    ],
    ids=["constant", "stop_gradient"],
)
def test_network_without_gradient_is_refused(network):
    images, labels = _batch()
    with pytest.raises(ValueError, match="does not depend on the images"):
        ca.FGSM(0.1)(network, images, labels, seed=0)


def test_labels_of_another_width_are_refused():
    images, _ = _batch(4)
    with pytest.raises(ValueError, match=r"received labels of shape \(4, 2\)"):
        ca.FGSM(0.1)(networks.linear(), images, np.zeros([4, 2]), seed=0)


def test_seed_of_another_shape_is_refused():
    images, labels = _batch()
    with pytest.raises(ValueError, match=r"received shape \(3,\)"):
        ca.FGSM(0.1)(networks.linear(), images, labels, seed=[1, 2, 3])


@pytest.mark.parametrize(
    "attack",
    [
        ca.PGD(0.1),
        ca.PGD(0.2, 0.05, 3, 0.8, (-1, 2), "l2", "random"),
        ca.FGSM(0.1),
        ca.FGSM(0.2, 0.5, (-1, 2), "l2", "random"),
    ],
    ids=repr,
)
def test_config_round_trip(attack):
    config = json.loads(json.dumps(attack.get_config()))
    copies = [
        type(attack).from_config(config),
        attacks.deserialize(json.loads(json.dumps(attacks.serialize(attack)))),
        eval(repr(attack), {"PGD": ca.PGD, "FGSM": ca.FGSM}),
    ]
    for copy in copies:
        assert type(copy) is type(attack)
        assert vars(copy) == vars(attack)


def test_serialize_none_and_refuse_other_attacks():
    class Mine(ca.PGD):
        pass

    assert attacks.deserialize(attacks.serialize(None)) is None
    with pytest.raises(ValueError, match=r"received Mine\(epsilon=0\.1"):
        attacks.serialize(Mine(0.1))
