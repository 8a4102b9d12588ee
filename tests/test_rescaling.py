"""Networks that rescale grey levels inside, and images of integers."""

import inspect
import pathlib
import warnings

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks
from tests.marks import slow

layers = tf.keras.layers
applications = tf.keras.applications
GREY = (0.0, 255.0)
LEVELS = np.random.default_rng(0).integers(0, 256, (8, 6, 6, 3), "uint8")


def adapted(top):
    layer = layers.Normalization()
    layer.adapt(LEVELS * np.float32(top / 255))
    return layer


def after(function):
    """A network whose first convolution follows a function of the images."""
    inputs = tf.keras.Input((6, 6, 3))
    x = layers.Conv2D(2, 3, name="stem")(function(inputs))
    return tf.keras.Model(inputs, layers.Dense(3)(layers.Flatten()(x)))


def nested(inputs):
    scaling = [layers.RandomFlip(), layers.Rescaling(1 / 127.5, -1)]
    return tf.keras.Sequential(scaling)(inputs)


RESCALE = {
    "Rescaling": layers.Rescaling(1 / 255),
    "nested, augmented": nested,
    "division": lambda x: x / 255.0,
    "Lambda": layers.Lambda(lambda x: (x - 127.0) / 128.0),
    "Normalization": adapted(255),
    "fixed Normalization": layers.Normalization(
        mean=[124.0, 116.0, 104.0], variance=[3409.0, 3262.0, 3291.0]
    ),
    "caffe": applications.resnet.preprocess_input,
    "tf": applications.mobilenet_v2.preprocess_input,
    "torch": applications.densenet.preprocess_input,
}
DO_NOT = {
    "nothing": lambda x: x,
    "Normalization of [0, 1]": adapted(1),
    "2x - 1": layers.Rescaling(2, -1),
    "batch norm": lambda x: layers.BatchNormalization()(x),
    "standardization": layers.Lambda(tf.image.per_image_standardization),
    "unit length": layers.Lambda(
        lambda x: tf.math.l2_normalize(x, axis=[1, 2, 3])
    ),
    "padding, dropout": lambda x: layers.Dropout(0.9)(
        layers.ZeroPadding2D()(x)
    ),
}


# Images that are divided by 255 twice cost 4 to 5 points without a word.
@pytest.mark.parametrize("name", RESCALE)
def test_a_network_that_rescales_is_noticed(name):
    network = after(RESCALE[name])
    message = (
        r"rescales its images.*value_range=\(0.0, 1.0\).*'stem' \(Conv2D\), "
        r"nearly.*PGD\(8, value_range=\(0, 255\)\).*divide the images by 255"
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*augments images inside.*")
        with pytest.warns(UserWarning, match=message):
            ca.ConAdvModel(network, ca.PGD(8 / 255))
        ca.ConAdvModel(network, ca.PGD(8, value_range=GREY))
        ca.ConAdvModel(network, None)


@pytest.mark.parametrize("name", DO_NOT)
@pytest.mark.parametrize("valid", [(0.0, 1.0), (-1.0, 1.0)], ids=str)
def test_other_networks_are_not_warned_of(name, valid):
    assert ca.networks.rescaled_range(after(DO_NOT[name]), valid) is None


def test_errors_name_both_remedies():
    model = ca.ConAdvModel(after(lambda x: x), ca.FGSM(0.1))
    model.compile("sgd", networks.LOSS)
    remedies = r" / 255\. If .* 8 instead of 8/255; or remove that layer and"
    with pytest.raises(ValueError, match=f"float32.{remedies}"):
        model.train_on_batch(LEVELS, np.zeros(8))
    model.reset_pending()
    with pytest.raises(ValueError, match=f"levels: images{remedies}"):
        model.train_on_batch(LEVELS.astype("float32"), np.zeros(8))


@pytest.mark.parametrize(
    "step", [ca.Concurrent(), slow(ca.SharedPass())], ids=str
)
def test_grey_levels_of_integers_train_like_floats(step):
    network = after(layers.Rescaling(1 / 255))

    def trained(images):
        attack = ca.PGD(8, value_range=GREY)
        model = ca.ConAdvModel(network, attack, step=step)
        model.compile("sgd", networks.LOSS)
        model.fit(images, np.arange(8) % 3, 4, shuffle=False, verbose=0)
        model.evaluate(images, np.arange(8) % 3, verbose=0)
        return model.get_weights()

    first, second = trained(LEVELS), trained(LEVELS.astype("float32"))
    for left, right in zip(first, second, strict=True):
        np.testing.assert_array_equal(left, right)


# {what `preprocess_input` makes of 0 and 255, to a digit: row of the guide}.
EXPECTED = {
    (0.0, 255.0): "unchanged",
    (-1.0, 1.0): "subtracts 1",
    (-103.9, 151.1): "reverses",
    (-2.1, 2.2): "standardizes",
}


def test_the_guide_has_the_range_of_every_application():
    path = pathlib.Path(__file__).parents[1] / "docs" / "rescaling.md"
    table = path.read_text().partition("## keras.applications")[2]
    rows = [line.split("|") for line in table.splitlines() if "|" in line]
    listed = {
        (name, end)
        for _, names, _, behavior, _ in rows[2:]
        for name in names.lower().split(", ")
        for end in EXPECTED.values()
        if end in behavior
    }
    found = set()
    for name, module in inspect.getmembers(applications, inspect.ismodule):
        if name in ("imagenet_utils", "resnet50"):  # resnet50 is in resnet.
            continue
        ends = np.stack([np.zeros([1, 1, 3]), np.full([1, 1, 3], 255.0)])
        made = module.preprocess_input(ends.astype("float32"))
        low, high = np.float64(made)[:, 0, 0, 0].round(1)
        found.add((name.replace("_", ""), EXPECTED[low, high]))
    assert {(name.strip(), end) for name, end in listed} == found
