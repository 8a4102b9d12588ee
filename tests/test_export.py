"""An exported network loads without this package."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks

# Runs in a process in which `import conadv_tf` fails.
_LOAD = """
    import sys

    class Blocked:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] == "conadv_tf":
                raise ImportError(name)

    sys.meta_path.insert(0, Blocked())
    import numpy as np
    import tensorflow as tf

    folder = sys.argv[1]
    images = np.load(f"{folder}/images.npy")
    expected = np.load(f"{folder}/logits.npy")
    # After three steps, large terms cancel in deep networks.
    tolerance = 1e-5 * np.abs(expected).max()
    network = tf.keras.models.load_model(f"{folder}/network.keras")
    again = tf.keras.models.clone_model(network)
    again.load_weights(f"{folder}/network.weights.h5")
    saved = tf.keras.models.load_model(f"{folder}/saved")
    for each in (network, again, saved):
        np.testing.assert_allclose(
            each.predict(images, verbose=0), expected, rtol=1e-5, atol=tolerance
        )
    signature = tf.saved_model.load(f"{folder}/saved").signatures
    outputs = signature["serving_default"](tf.constant(images))
    np.testing.assert_allclose(
        list(outputs.values())[0], expected, rtol=1e-5, atol=tolerance
    )
    print("loaded")
"""


def _nested():
    inner = networks.convolutional(num_classes=6)
    inputs = tf.keras.Input((6, 6, 1))
    x = tf.keras.layers.BatchNormalization()(inner(inputs))
    return tf.keras.Model(inputs, tf.keras.layers.Dense(3)(x))


def _efficientnet():
    return ca.networks.efficientnet_b0(3, (32, 32, 3))


def _mobilenet():
    return tf.keras.applications.MobileNetV3Small(
        weights=None,
        classes=3,
        classifier_activation=None,
        input_shape=(32, 32, 3),
        include_preprocessing=False,
    )


@pytest.mark.parametrize(
    "make_network",
    [
        _nested,
        pytest.param(_efficientnet, marks=pytest.mark.slow),
        pytest.param(_mobilenet, marks=pytest.mark.slow),
    ],
)
def test_exported_network_loads_without_the_package(make_network, tmp_path):
    network = make_network()
    batches = networks.batches(3, shape=network.input_shape[1:])
    model = ca.ConAdvModel(network, ca.PGD(0.1))
    model.compile(ca.LARS(0.05), networks.LOSS, run_eagerly=True)
    model.fit(networks.dataset(batches), verbose=0)
    images, _ = batches[0]
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "logits.npy", model.predict(images, verbose=0))
    plain = model.export_network()
    plain.save(tmp_path / "network.keras")
    plain.save(tmp_path / "saved")
    plain.save_weights(tmp_path / "network.weights.h5")
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_LOAD), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert result.stdout == "loaded\n", result.stderr
