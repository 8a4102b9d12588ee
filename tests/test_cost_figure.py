"""The picture and the table of the cost of each method."""

import pathlib

import pytest

from conadv_tf import csv_file
from experiments import plots
from tools.step import cost_figure

ROOT = pathlib.Path(__file__).parents[1]
EVIDENCE = ROOT / "experiments" / "evidence"


@pytest.fixture
def tables(tmp_path):
    """The tables of a TPU report with 64 images and of a benchmark with 4."""
    on_tpu = {
        "baseline": (50.0, 10.0),
        "conadv": (100.0, 30.0),
        "shared_pass": (75.0, 12.5),
        "role_attack": (25.0, 5.0),  # No method of its own.
    }
    rows = [
        {"method": name, "batch_size": size, "gflops": a, "cycles": b + size}
        for name, (a, b) in on_tpu.items()
        for size in (64, 4)
    ]
    csv_file.write(tmp_path / "tpu.csv", rows)
    # The machine is twice as slow in the second repeat.
    times = [
        {"variant": name, "batch_size": 4, "ms_per_step": value * slow}
        for name, value in (("baseline", 2.0), ("conadv", 5.0), ("nsl", 9.0))
        for slow in (1, 2, 1)
    ]
    times += [{**row, "batch_size": 16, "ms_per_step": 7.0} for row in times]
    csv_file.write(tmp_path / "times.csv", times)
    return tmp_path / "tpu.csv", 64, tmp_path / "times.csv", 4


def test_costs_are_relative_to_plain_training(tables):
    arithmetic, cpu, tpu = cost_figure.read(*tables).values()
    assert arithmetic == {"baseline": 1, "conadv": 2, "shared_pass": 1.5}
    assert cpu == {"baseline": 1, "conadv": 2.5}
    assert tpu == pytest.approx(
        {"baseline": 1, "conadv": 94 / 74, "shared_pass": 76.5 / 74}
    )
    *_, shared_pass, conadv = cost_figure.table(
        cost_figure.read(*tables)
    ).splitlines()
    assert shared_pass.startswith("| shared pass | 1.50 |  | 1.03 | `ca.Shared")
    start = "| ConAdv | 2.00 | 2.50 | 1.27 | `ca.Concurrent()` | update and"
    assert conadv.startswith(start)


def test_the_picture_has_a_bar_for_each_known_cost(tables, tmp_path):
    figure = cost_figure.draw(cost_figure.read(*tables))
    plots.save(figure, tmp_path / "costs.png")
    (axis,) = figure.axes
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names == ["shared pass", "ConAdv"]
    widths = [[bar.get_width() for bar in bars] for bars in axis.containers]
    assert widths == [[1.5, 2.0], [2.5], pytest.approx([76.5 / 74, 94 / 74])]
    # The bar of ConAdv is below the others.
    assert axis.containers[1][0].get_y() > 0.8 and axis.yaxis_inverted()


def test_tables_without_plain_training_are_refused(tables):
    tpu, _, times, images = tables
    with pytest.raises(ValueError, match="baseline with 8 images in .*tpu"):
        cost_figure.read(tpu, 8, times, images)
    with pytest.raises(ValueError, match=r"lacks the columns \['gflops'"):
        cost_figure.read(times, 4, times, images)


# tools/cost_figure.py prints the table again if the evidence has changed.
def test_the_page_about_costs_has_the_table():
    tables = EVIDENCE / "tpu_resnet50.csv", EVIDENCE / "benchmark_shared.csv"
    costs = cost_figure.read(tables[0], 64, tables[1], 16)
    page = (ROOT / "docs" / "costs.md").read_text()
    assert cost_figure.table(costs) in page
    assert (EVIDENCE / "costs.png").exists()
