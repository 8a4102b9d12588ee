"""Settings that all tests share, made before TensorFlow starts."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# What XLA compiles here runs once or twice.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import pytest
import tensorflow as tf

# Replication is tested on logical devices of the one CPU.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 4,
)


def pytest_collection_finish():
    """Takes what is imported by now out of the garbage collector's sight.

    Tracing makes so many objects that the whole heap was searched again and
    again, a tenth of the time of the tests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(autouse=True)
def fresh_keras_state():
    """Same seeds, names and policy for each test, whatever ran before."""
    tf.keras.backend.clear_session()
    tf.keras.mixed_precision.set_global_policy(None)  # By floatx again.
    tf.keras.utils.set_random_seed(0)
