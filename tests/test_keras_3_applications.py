"""The smallest network of each family of keras.applications of Keras 3.

docs/keras_3.md has the table that `pytest -m "slow or large"` prints with -s.
"""

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests.marks import import_keras_3

keras = import_keras_3()
# {network: size of its images}.
SLOW = {"MobileNetV2": 64, "MobileNetV3Small": 64, "VGG16": 32}
LARGE = {
    "ConvNeXtTiny": 64,
    "DenseNet121": 64,
    "EfficientNetB0": 64,
    "EfficientNetV2B0": 64,
    "InceptionResNetV2": 75,
    "InceptionV3": 75,
    "MobileNet": 64,
    "NASNetMobile": 224,
    "ResNet50": 64,
    "ResNet50V2": 64,
    "Xception": 71,
}
# The gradients of this deep network without weights from training are large.
RATES = {"InceptionResNetV2": 1e-5}


def difference(one, other):
    """The largest difference relative to the largest output."""
    return np.max(np.abs(one - other)) / np.max(np.abs(one))


@pytest.mark.parametrize(
    "name, size",
    [pytest.param(*each, marks=pytest.mark.slow) for each in SLOW.items()]
    + [pytest.param(*each, marks=pytest.mark.large) for each in LARGE.items()],
)
def test_an_application_trains_and_is_given_back(name, size):
    keras.utils.set_random_seed(0)
    shape = (size, size, 3)
    base = getattr(keras.applications, name)(
        include_top=False, weights=None, input_shape=shape, pooling="avg"
    )
    images = keras.Input(shape)
    network = keras.Model(images, keras.layers.Dense(10)(base(images)))
    pixels = np.random.default_rng(0).uniform(0, 255, [4, *shape])
    pixels = pixels.astype("float32")
    before = network.predict(pixels, verbose=0)
    model = ca.ConAdvModel(network, ca.PGD(8, value_range=(0, 255)))
    converted = difference(before, model.predict(pixels, verbose=0))
    model.compile(
        tf.keras.optimizers.SGD(RATES.get(name, 1e-3)),
        tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(pixels, np.arange(4), 2, verbose=0)
    trained = model.predict(pixels, verbose=0)
    returned = model.export_network().predict(pixels, verbose=0)
    returned = difference(trained, returned)
    print(f"| {name} | {converted:.0e} | {returned:.0e} |")
    assert difference(before, trained) > 1e-5
    assert converted < 1e-5 and returned < 1e-5
