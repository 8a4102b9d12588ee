"""`tf.keras` is Keras 2, or an error gives the remedy."""

import pytest
import tensorflow as tf

from conadv_tf import keras2
from tests import processes

PACKAGE = tf.keras.Model.__module__.split(".")[0]
WITH_KERAS_3 = PACKAGE == "tf_keras"


@pytest.mark.parametrize(
    "tensorflow, tf_keras, variable, words",
    [
        ("2.15.1", None, None, None),
        ("2.15.1", None, "0", None),
        ("2.15.1", "2.15.0", "1", None),
        ("2.15.1", "2.21.0", None, None),
        ("2.16.1", "2.16.0", "1", None),
        ("2.21.0", "2.21.0", "true", None),
        ("2.22.0-dev20260924", "2.22.0.dev1", "1", None),
        ("2.15.1", None, "1", ["2.15.1", "'1'", "Unset it"]),
        ("2.15.1", "2.21.0", "1", ["2.21.0", 'install "tf_keras==2.15.*"']),
        ("2.20.0", None, None, ["2.20.0", 'install "tf_keras==2.20.*"']),
        ("2.21.0", "2.20.1", "1", ["2.20.1", 'install "tf_keras==2.21.*"']),
        ("2.21.0", "2.15.0", None, ["2.15.0", 'install "tf_keras==2.21.*"']),
        ("2.21.0", "2.21.0", "0", ["Keras 3 is not", "'0'", "Unset it"]),
    ],
)
def test_remedy(tensorflow, tf_keras, variable, words):
    message = keras2.remedy(tensorflow, tf_keras, variable)
    assert (message is None) == (words is None)
    assert "\n" not in (message or "")
    for word in words or ():
        assert word in message


def last_line(code, **variables):
    """The last line of the output or error of a new Python process."""
    result = processes.run(code, **variables)
    return (result.stdout or result.stderr).strip().splitlines()[-1]


# TensorFlow chooses where to find submodules when it is imported.
def test_imports_of_submodules_find_the_same_keras():
    code = (
        "import tensorflow as tf, conadv_tf\n"
        "from tensorflow.keras import layers\n"
        "import tensorflow.keras\n"
        "import keras_cv\n"
        "print(layers.Dense is tf.keras.layers.Dense, layers.Dense.__module__)"
    )
    assert last_line(code) == f"True {PACKAGE}.src.layers.core.dense"


@pytest.mark.skipif(not WITH_KERAS_3, reason="needs Keras 3")
@pytest.mark.parametrize(
    "code, variables, words",
    [
        ("import tensorflow as tf; tf.keras.Model", {}, "conadv_tf first"),
        ("from tensorflow.keras import layers", {}, "conadv_tf first"),
        ("", {keras2.VARIABLE: "0"}, "received '0'. Unset it"),
    ],
)
def test_keras_3_is_already_in_use(code, variables, words):
    said = last_line(f"{code}\nimport conadv_tf", **variables)
    assert said.startswith("ImportError: Expected ") and words in said


@pytest.mark.skipif(WITH_KERAS_3, reason="tf_keras is installed")
def test_the_variable_without_tf_keras():
    said = last_line("import conadv_tf", **{keras2.VARIABLE: "1"})
    assert said.startswith("ImportError: Expected ") and "Unset it" in said
