"""--callback adds a Keras callback of the user to a run and to a sweep."""

import json
import pathlib
import re
import sys
import types

from absl.testing import flagsaver
import pytest
import tensorflow as tf

from experiments import config as config_lib
from experiments import user_callbacks
from tests import in_process

ROOT = pathlib.Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "tracking.md").read_text()
QUICK = ("--epochs=2", "--set=network.depth=8", "--set=network.width=4")
MODULE = """
import tensorflow as tf

Plain = tf.keras.callbacks.Callback
number = 3

def create(config, model_dir, rate=3):
    Plain.seen = config["step.staleness"], config["epochs"], model_dir, rate
    return Plain()

def nothing():
    return None

def wrong():
    return 3

def needs(network):
    return None

def fails():
    return 1 / 0
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("mine", "package.module", "missing_import"):
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(MODULE)
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "broken.py").write_text("def create(:\n")
    (tmp_path / "missing_import.py").write_text("import not_there\nx = 1\n")
    return tmp_path


def created(*texts):
    with flagsaver.flagsaver():
        user_callbacks.FLAGS(["run.py", *(f"--callback={t}" for t in texts)])
        user_callbacks.check()
        config = config_lib.RunConfig(method="conadv", epochs=7)
        return user_callbacks.create(config, pathlib.Path("runs/x"), True)


def test_callbacks_are_created_in_order_with_what_they_ask_for(folder):
    found = created("mine:create", "mine:nothing", "package.module:Plain")
    assert [type(each).__name__ for each in found] == ["Callback"] * 2
    assert tf.keras.callbacks.Callback.seen == (1, 7, "runs/x", 3)
    name = "tensorflow.keras.callbacks:TerminateOnNaN"
    assert isinstance(*created(name), tf.keras.callbacks.TerminateOnNaN)
    assert created() == []


@pytest.mark.parametrize(
    "text, message",
    [
        ("mine", "package.module:function; received --callback=mine. Write"),
        ("mine:", "received --callback=mine:. Write"),
        ("mine.py:create()", r"received --callback=mine.py:create\(\). Write"),
        ("other:create", "'other' is neither in the current folder, .*PYTHONP"),
        ("mine:creat", "function 'creat' in the module 'mine'.*'create'"),
        ("package.module:crate", "none of this name. Did you mean 'create'"),
        ("broken:create", r"broken.py, line 1.*received 'def create\(:'"),
        ("package.other:create", "Cannot import .*No module named 'package.o"),
        ("missing_import:x", "Cannot import .*'not_there'. Install"),
        ("mine:number", "to name a function; received 3"),
        ("mine:wrong", "return a Keras callback, or None .*; received 3"),
        ("mine:needs", r"model_dir, is_chief; .*signature \(network\)"),
        ("mine:fails", "failed in .*mine.py, line 21: ZeroDivisionError"),
    ],
)
def test_wrong_values_are_refused(folder, text, message):
    with pytest.raises(ValueError, match=message):
        created(text)


def record(calls, name):
    """Returns a function that records its calls and the calls of its result."""

    def call(*arguments, **named):
        calls.append((name, arguments, named))
        return types.SimpleNamespace(
            log=record(calls, "log"), finish=record(calls, "finish")
        )

    return call


# The two modules of the guide, as a user saves them; with recording trackers.
def test_the_guide_tracks_a_run(folder, monkeypatch):
    calls = []
    for tracker, names in {
        "mlflow": ["start_run", "log_params", "log_metrics", "end_run"],
        "wandb": ["init"],
    }.items():
        module = types.ModuleType(tracker)
        for name in names:
            setattr(module, name, record(calls, name))
        monkeypatch.setitem(sys.modules, tracker, module)
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    for tracker, block in zip(("mlflow", "wandb"), blocks, strict=True):
        assert f"`track_{tracker}.py`" in GUIDE and f"import {tracker}" in block
        (folder / f"track_{tracker}.py").write_text(block)
        monkeypatch.delitem(sys.modules, f"track_{tracker}", raising=False)
    flags = re.findall(r"--callback=track_\w+:\w+", GUIDE)
    assert len(flags) == 2
    in_process.main("--method=baseline", "--model_dir=run", *flags, *QUICK)
    names = [name for name, *_ in calls]
    epoch = ["log_metrics", "log"]
    start, end = ["start_run", "log_params", "init"], ["end_run", "finish"]
    assert names == [*start, *epoch, *epoch, *end]
    by_name = {name: (*arguments, named) for name, arguments, named in calls}
    assert by_name["log_params"][0]["network.depth"] == 8
    assert by_name["init"][0]["name"] == "run"
    metrics, named = by_name["log_metrics"]
    assert named == {"step": 1} and by_name["log"][0] == {"epoch": 1, **metrics}
    assert {"loss", "val_accuracy", "learning_rate"} < set(metrics)
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["callbacks"] == [flag.split("=")[1] for flag in flags]
