"""The notebook runs, and its committed outputs are of its code."""

import contextlib
import io
import re

import matplotlib
import numpy as np
import pytest

from tests import notebook

CONTENT = notebook.read()
CELLS = notebook.code_cells(CONTENT)
NUMBER = r"\d+(?:\.\d+)*"


def test_outputs_are_of_the_committed_code():
    assert CONTENT["metadata"]["conadv_tf"] == notebook.stamp(CONTENT), (
        "Execute the notebook again: python -m tests.notebook"
    )
    counts = [
        cell["execution_count"]
        for cell in CONTENT["cells"]
        if "outputs" in cell
    ]
    assert counts == list(range(1, len(counts) + 1))


def test_pictures_are_small_and_nothing_failed():
    kinds, pictures = set(), []
    for _, outputs in CELLS:
        for output in outputs:
            kinds.add(output["output_type"])
            pictures += output.get("data", {}).get("image/png", "").split()
    assert kinds == {"stream", "display_data"}
    assert len(pictures) == 2
    assert all(1e4 < len(each) < 1.5e5 for each in pictures)


@pytest.mark.slow
def test_the_notebook_prints_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    names = {}
    for code, outputs in CELLS:
        code = re.sub(r"^( *)%pip .*", r"\1pass", code, flags=re.MULTILINE)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(code, names)
        shown, text = notebook.printed(outputs), output.getvalue()
        if "TensorFlow" in shown:  # The versions differ.
            continue
        assert re.sub(NUMBER, "n", text) == re.sub(NUMBER, "n", shown)
        # Accuracies depend on the processor.
        numbers = [
            [float(number) for number in re.findall(NUMBER, each)]
            for each in (text, shown)
        ]
        np.testing.assert_allclose(*numbers, atol=10)
    assert "digits.keras" in [path.name for path in tmp_path.iterdir()]
