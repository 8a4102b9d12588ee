"""The examples with Keras 3 run; docs/keras_3.md has a whole script."""

import pathlib
import re

import numpy as np
import pytest

from tests.marks import in_stack_b

DOCS = pathlib.Path(__file__).parents[1] / "docs"

pytestmark = in_stack_b


def blocks(page):
    """The blocks of Python code of a page that import Keras 3."""
    found = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    return [block for block in found if "import keras\n" in block]


def test_other_examples_run(tmp_path, monkeypatch):
    pytest.importorskip("keras")
    monkeypatch.chdir(tmp_path)
    for page in DOCS.glob("*.md"):
        for block in blocks(page)[page.name == "keras_3.md" :]:
            exec(block, {})


def test_the_script_trains_and_its_files_load(tmp_path, monkeypatch):
    keras = pytest.importorskip("keras")
    monkeypatch.chdir(tmp_path)
    block, *_ = blocks(DOCS / "keras_3.md")
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
