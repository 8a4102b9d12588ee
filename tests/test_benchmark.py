"""benchmark.py times training steps, benchmark_input.py input pipelines."""

import csv
import json
import sys
import types

from PIL import Image
import pytest

from tests import networks
from tests.tool_runs import run_tool
from tests.tool_runs import TINY
from tools.step import first_step
from tools.step import models
from tools.step import timing
from tools.step import variants


class Clock:
    """A clock that advances only while a variant runs."""

    def __init__(self):
        self.now = 0.0
        self.runs = []

    def __call__(self):
        return self.now

    def variant(self, name, seconds):
        def run(steps):
            self.runs.append(name)
            # The machine slows down from run to run.
            self.now += steps * seconds * (1 + len(self.runs) // 2)

        return run


def test_variants_take_turns_and_ratios_are_taken_within_a_repeat():
    clock = Clock()
    runs = {"a": clock.variant("a", 1), "b": clock.variant("b", 3)}
    times = timing.alternate(runs, 20, steps=5, clock=clock)
    pairs = list(zip(clock.runs[::2], clock.runs[1::2]))
    assert len(pairs) == 20
    assert set(pairs) == {("a", "b"), ("b", "a")}
    first = times["b" if pairs[0] == ("b", "a") else "a"][0]
    assert first in (1e3, 3e3)
    assert max(times["a"]) > 10e3
    # The second of a repeat is a little slower; the drift cancels.
    assert 2.5 < timing.ratio(times, "b", "a").median < 3.5


def test_quartiles_are_formatted_with_their_median_first():
    quartiles = timing.Quartiles.of([4.0, 2.0, 3.0, 1.0, 5.0])
    assert quartiles == timing.Quartiles(2.0, 3.0, 4.0)
    assert f"{quartiles:.1f}" == "3.0 [2.0, 4.0]"


# The benchmark below runs some of the other variants.
@pytest.mark.parametrize(
    "name",
    [
        "disadv",
        "conadv_fit",
        "shared_pass_fit",
        "conadv_no_refresh",
        "conadv_sgd",
    ],
)
def test_variants_train_the_network(name, monkeypatch):
    built = []
    build = models.of_method

    def remember(*args, **options):
        built.append(build(*args, **options))
        return built[-1]

    monkeypatch.setattr(models, "of_method", remember)
    run = variants.build(name, networks.linear((4, 4, 1)), 4, False)
    run(3)
    (model,) = built
    assert model.optimizer.iterations.numpy() == 3
    run(2)
    assert model.optimizer.iterations.numpy() == 5
    assert (model.optimizer.name == "LARS") == (name != "conadv_sgd")
    stale = model.runner.shadow
    if stale is not None:
        weights = networks.weights(model.network)
        distance = abs(networks.weights(stale.network) - weights).max()
        assert (distance > 0.05) == (name == "conadv_no_refresh")


def test_first_steps_take_turns_and_are_compared_to_plain_keras():
    names = []

    def run(name):
        names.append(name)
        return len(names) * {"keras": 1.0, "conadv": 2.0}[name]

    seconds = first_step.measure(["conadv"], (), 6, run=run)
    assert {len(values) for values in seconds.values()} == {6}
    pairs = set(zip(names[::2], names[1::2]))
    assert pairs == {("keras", "conadv"), ("conadv", "keras")}
    _, _, keras, conadv = first_step.table(seconds).splitlines()
    assert keras.split("|")[1].strip() == "keras"
    assert "1.00 [1.00, 1.00]" in keras
    # The machine slows down from run to run, which cancels in a repeat.
    ratio = float(conadv.split("|")[3].split()[0])
    assert 1.7 < ratio < 2.3


@pytest.mark.parametrize("name", ["keras", "conadv"])
def test_a_first_step_is_measured_from_the_network_to_its_end(
    name, monkeypatch
):
    network = networks.linear((4, 4, 1))
    compiled = []
    build = models.compiled
    monkeypatch.setattr(
        models,
        "compiled",
        lambda *args, **options: (
            compiled.append(build(*args, **options)) or compiled[-1]
        ),
    )
    now = iter([10.0, 13.0])

    def times():
        steps = [each.optimizer.iterations.numpy() for each in compiled]
        assert steps in ([], [1])
        return types.SimpleNamespace(user=next(now), system=len(steps) / 2)

    monkeypatch.setattr(first_step.os, "times", times)
    assert first_step.cpu_seconds(name, network, 4, False) == 3.5
    (model,) = compiled
    assert (model is network) == (name == "keras")


@pytest.mark.parametrize("variant", ["nsl", "nsl_fit"])
def test_variants_that_cannot_run_name_the_reason(monkeypatch, variant):
    monkeypatch.setitem(sys.modules, "neural_structured_learning", None)
    with pytest.raises(variants.UnavailableError, match="pip install neural"):
        variants.build(variant, networks.linear(), 4, False)
    fake = types.ModuleType("neural_structured_learning")
    monkeypatch.setitem(sys.modules, fake.__name__, fake)
    with pytest.raises(variants.UnavailableError, match="XLA does not"):
        variants.build(variant, networks.linear(), 4, True)


@pytest.mark.slow
def test_benchmark_without_the_optional_package(tmp_path):
    missing = tmp_path / "neural_structured_learning.py"
    missing.write_text("raise ImportError('not here')\n")
    result = run_tool(
        "benchmark",
        tmp_path / "out",
        *TINY,
        *(f"--variant={name}" for name in ("baseline", "nsl", "conadv")),
        "--repeats=2",
        "--steps=2",
        "--first_step_repeats=1",
        path=tmp_path,
    )
    assert "nsl is left out: neural-structured-learning is not installed" in (
        result.stderr
    )
    with open(tmp_path / "out" / "times.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["variant"], row["repeat"]) for row in rows] == [
        (variant, repeat)
        for variant in ("baseline", "conadv")
        for repeat in ("0", "1")
    ]
    assert all(float(row["ms_per_step"]) > 0 for row in rows)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    (setting,) = summary["settings"]
    assert setting["ratios"].keys() == {"conadv / baseline"}
    assert summary["cores"] >= 1
    assert "| conadv / baseline |" in result.stdout
    with open(tmp_path / "out" / "first_step.csv", encoding="utf-8") as file:
        first = {row["variant"]: row for row in csv.DictReader(file)}
    assert first.keys() == {"keras", "baseline", "conadv"}
    assert setting["first_step_cpu_seconds"].keys() == first.keys()
    seconds = float(first["conadv"]["cpu_seconds"])
    assert seconds > 1.2 * float(first["keras"]["cpu_seconds"]) > 0.1
    assert "| conadv | " + f"{seconds:.2f} [" in result.stdout
    png = (tmp_path / "out" / "benchmark.png").read_bytes()
    assert png.startswith(b"\x89PNG")


@pytest.mark.slow
def test_input_benchmark_writes_tables_and_a_plot(tmp_path):
    result = run_tool(
        "benchmark_input",
        tmp_path / "out",
        "--image_size=32",
        "--batch_size=2",
        "--files=4",
        "--batches=2",
        "--repeats=1",
        "--images=40",
    )
    with open(tmp_path / "out" / "rates.csv", newline="") as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    assert float(rows["photos: plain loop"]["ratio_to_plain"]) == 1.0
    for name in ("photos: one view", "photos: two views", "photos: evaluation"):
        assert float(rows[name]["images_per_core_second"]) > 0
        assert float(rows[name]["core_ratio_to_plain"]) > 0
        assert name in result.stdout
    with open(tmp_path / "out" / "memory.csv", newline="") as file:
        memory = list(csv.DictReader(file))
    assert [int(row["images"]) for row in memory] == list(range(4, 41, 4))
    assert all(float(row["resident_mib"]) > 50 for row in memory)
    with Image.open(tmp_path / "out" / "input.png") as picture:
        assert len(picture.getcolors(1 << 24)) > 50
