"""Training gives the same weights in both stacks: TensorFlow 2.15 and 2.21.

With TensorFlow's own kernels the weights are equal to the bit on one machine.
If CONADV_TF_STACKS names a folder, as in .ci/run with TF_ENABLE_ONEDNN_OPTS=0,
each stack writes its weights there and compares them with the other's. oneDNN,
which TensorFlow uses by default, rounds differently in another version and on
another processor. The comparison with stored weights therefore has a tolerance.
A column of stack_weights.csv has the content of the file of the same name.
"""

import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tests import stack_weights

STORED = pathlib.Path(__file__).with_name("stack_weights.csv")


@pytest.mark.parametrize("name", stack_weights.SETUPS)
def test_training_gives_the_weights_of_the_other_stack(name):
    weights = stack_weights.trained(name)
    folder = os.environ.get("CONADV_TF_STACKS")
    if folder:
        for other in pathlib.Path(folder).glob(f"*_{name}.txt"):
            np.testing.assert_array_equal(
                weights, np.loadtxt(other, np.float32), other.name
            )
        # Nine digits distinguish all float32 numbers.
        path = pathlib.Path(folder, f"{tf.__version__}_{name}.txt")
        np.savetxt(path, weights, "%.9g")
    stored = np.genfromtxt(STORED, np.float32, delimiter=",", names=True)[name]
    np.testing.assert_allclose(weights, stored, rtol=1e-4, atol=1e-5)
