"""Settings for all tests, made before TensorFlow starts."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Compiled functions run only once or twice in a test: skip optimizations.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import pytest
import tensorflow as tf

# Tests of replication use logical devices of the CPU.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 4,
)


def pytest_collection_finish():
    """Excludes all imported objects from garbage collection.

    Tracing creates so many objects that repeated collections of the whole heap
    took a tenth of the time of the tests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(autouse=True)
def fresh_keras_state():
    """Resets seeds, layer names and precision policy before each test."""
    tf.keras.backend.clear_session()
    tf.keras.mixed_precision.set_global_policy(
        None
    )  # The default, from floatx.
    tf.keras.utils.set_random_seed(0)
