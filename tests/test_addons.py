"""Where tensorflow-addons is (the stack of TensorFlow 2.15), we equal it."""

import numpy as np
import pytest
import tensorflow as tf

from conadv_tf.data import geometric_ops

tfa = pytest.importorskip("tensorflow_addons")

ARGUMENTS = {
    "Rotate": (-30.0, -7.3, 12.0, 30.0),
    "ShearX": (-0.3, 0.09, 0.3),
    "ShearY": (-0.3, 0.21, 0.3),
    "TranslateX": (-17.0, 0.5, 3.0),
    "TranslateY": (-9.0, 1.0, 250.0),
}
SIZES = [(8, 8), (33, 20), (64, 48), (57, 224)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", geometric_ops.OPERATIONS)
def test_geometric_operations_are_those_of_addons(monkeypatch, name, size):
    def of_addons(image, coefficients, fill):
        return tfa.image.transform(image, coefficients, fill_value=fill)

    image = tf.constant(
        np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    )
    cases = [(each, fill) for each in ARGUMENTS[name] for fill in (0, 128, 255)]
    operation = geometric_ops.OPERATIONS[name]
    ours = [operation(image, *case) for case in cases]
    monkeypatch.setattr(geometric_ops, "sampled", of_addons)
    for case, mine in zip(cases, ours):
        np.testing.assert_array_equal(mine, operation(image, *case), str(case))
