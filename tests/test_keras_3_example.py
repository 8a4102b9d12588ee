"""The example of docs/keras_3.md, a script for Keras 3, runs."""

import pathlib
import re

import numpy as np
import pytest

from conadv_tf.keras2 import keras_version

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "keras_3.md"

pytestmark = pytest.mark.skipif(
    keras_version() < "2.16",
    reason="Keras 3 cannot be installed beside TensorFlow 2.15",
)


def test_the_script_trains_and_its_files_load(tmp_path, monkeypatch):
    keras = pytest.importorskip("keras")
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block.startswith("import keras\n")
    names = {}
    exec(block, names)
    assert len(names["history"].history["val_accuracy"]) <= 3
    model, images = names["model"], names["images"]
    trained = keras.models.load_model("trained.keras")
    for each in (names["best"], trained, model.export_network()):
        assert type(each) is keras.Sequential
        assert [layer.name for layer in each.layers] == [
            layer.name for layer in names["network"].layers
        ]
    expected = model.predict(images, verbose=0)
    np.testing.assert_allclose(
        trained.predict(images, verbose=0), expected, rtol=0, atol=1e-6
    )
    before = names["network"].get_weights()[0]
    assert np.any(before != names["best"].get_weights()[0])
