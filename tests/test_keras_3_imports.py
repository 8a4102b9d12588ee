"""Keras 3 is imported before or after this package."""

import os
import pathlib
import subprocess
import sys

import pytest

from conadv_tf.keras2 import keras_version

ROOT = pathlib.Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    keras_version() < "2.16",
    reason="Keras 3 cannot be installed beside TensorFlow 2.15",
)


@pytest.mark.parametrize(
    "imports",
    ["import keras, conadv_tf as ca", "import conadv_tf as ca, keras"],
)
def test_any_order_of_imports(imports):
    code = (
        f"{imports}\n"
        "import tensorflow as tf\n"
        "layers = [tf.keras.Input([4]), tf.keras.layers.Dense(3)]\n"
        "model = ca.ConAdvModel(tf.keras.Sequential(layers), None)\n"
        "loss = keras.losses.MeanSquaredError()\n"
        "model.compile(keras.optimizers.Adam(), loss)\n"
        "print(type(model.optimizer).__module__.split('.')[0])\n"
        "model.compile(keras.optimizers.Lamb(), loss)"
    )
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("TF_USE_LEGACY_KERAS", None)
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert result.stdout.strip() == "tf_keras", result.stderr
    assert "received Lamb of Keras 3" in result.stderr.splitlines()[-1]
