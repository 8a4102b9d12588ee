"""Keras 3 is imported before or after this package."""

import pytest

from tests import processes
from tests.marks import in_stack_b

pytestmark = in_stack_b


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
    result = processes.run(code)
    assert result.stdout.strip() == "tf_keras", result.stderr
    assert "received Lamb of Keras 3" in result.stderr.splitlines()[-1]
