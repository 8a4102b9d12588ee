"""The pictures of runs and reports: titles, ticks, intervals, variants."""

import matplotlib
import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca
from conadv_tf import csv_file
from experiments import plots
from experiments.sweeps import overview
from tests.sweep_rows import markdown
from tests.sweep_rows import row


@pytest.fixture
def drawn(monkeypatch):
    """{stem of a file: figure} of the figures that are saved."""
    figures, save = {}, plots.save

    def remember(figure, path, *arguments):
        save(figure, path, *arguments)
        figures[path.stem] = figure

    monkeypatch.setattr(plots, "save", remember)
    return figures


def tick_labels(axis):
    """The labels of the ticks within the limits of an axis."""
    low, high = axis.get_view_interval()
    places = [each for each in axis.get_majorticklocs() if low <= each <= high]
    return axis.get_major_formatter().format_ticks(places)


@pytest.mark.parametrize("smoke_test", [False, True])
def test_the_curves_of_three_epochs(smoke_test, drawn, tmp_path):
    rows = [{"epoch": i, "loss": 2.4 - 0.3 * i} for i in range(3)]
    csv_file.write(tmp_path / "history.csv", rows)
    files = tmp_path / "history.csv", tmp_path / "curves.png"
    plots.curves(*files, "conadv on digits", smoke_test)
    figure = drawn["curves"]
    assert tick_labels(figure.axes[0].xaxis) == ["1", "2", "3"]
    assert figure.axes[0].get_xlim()[0] == 0.5  # There is no epoch 0.
    assert tick_labels(figure.axes[0].yaxis) == ["1.8", "2", "2.2", "2.4"]
    title = "conadv on digits"
    title += "\nsmoke test: not a result" if smoke_test else ""
    assert figure.get_suptitle() == title


# Plain training logs one loss, which is the clean one.
def test_the_curves_of_a_delayed_attack(drawn, tmp_path):
    plain = {"loss": 2.0, "attacked": 0.0}
    attacked = {"loss": 1.5, "clean_loss": 1.0, "attacked": 1.0}
    rows = [plain, plain, attacked | {"adversarial_loss": 2.0}]
    columns = ["epoch", "loss", "clean_loss", "adversarial_loss", "attacked"]
    rows = [{"epoch": i, **row} for i, row in enumerate(rows)]
    csv_file.write(tmp_path / "history.csv", rows, columns)
    plots.curves(tmp_path / "history.csv", tmp_path / "curves.png")
    clean, adversarial, start = drawn["curves"].axes[0].lines
    assert list(clean.get_ydata()) == [2, 2, 1]
    assert list(adversarial.get_xdata()) == [3]
    assert adversarial.get_marker() == "."
    assert list(start.get_xdata()) == [2.5, 2.5]
    assert len(drawn["curves"].axes[1].lines) == 1


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (0.03, 2.5, ["0.05", "0.1", "0.2", "0.5", "1", "2"]),
        (0.0002, 2.5, ["0.001", "0.01", "0.1", "1"]),
        (2.0, 2.9, ["2", "2.2", "2.4", "2.6", "2.8"]),
    ],
)
def test_a_logarithmic_axis_has_plain_numbers(low, high, expected):
    figure, ((axis,),) = plots.subplots(1, 1, 4.0, 3.0)
    axis.set_yscale("log")
    axis.set_ylim(low, high)
    plots.log_ticks(axis.yaxis)
    assert tick_labels(axis.yaxis) == expected


def test_examples_name_the_scale_of_the_perturbation(drawn, tmp_path):
    layers = [tf.keras.Input((2, 2, 1)), tf.keras.layers.Flatten()]
    network = tf.keras.Sequential([*layers, tf.keras.layers.Dense(3)])
    images = tf.fill([4, 2, 2, 1], 100.0)
    test = tf.data.Dataset.from_tensors((images, [0, 1, 2, 0]))
    attack = ca.PGD(8, value_range=(0, 255), random_start=0.0)
    plots.examples(network, test, attack, tmp_path / "examples.png")
    title = drawn["examples"].get_suptitle()
    assert "white +8 and black -8 of pixels in [0, 255]" in title


def sweep_rows(seeds):
    """Runs of two batch sizes; a variant of the attack gains a point more."""
    delayed = {"variant": "start.accuracy=0.9"}
    return [
        row(method, size, seed, top1 + 0.01 * seed**2, **changes)
        for seed in range(seeds)
        for size in (8, 32)
        for method, top1, changes in (
            ("baseline", 0.5, {}),
            ("shared_pass", 0.5 + 0.01 * seed, {}),
            ("shared_pass", 0.51 + 0.01 * seed, delayed),
            ("shared_pass", 0.6 + 0.01 * seed, {"variant": "epochs=7"}),
        )
    ]


def bars(figure):
    """The lengths of the error bars of a figure."""
    containers = figure.axes[0].containers
    assert all(
        isinstance(each, matplotlib.container.ErrorbarContainer)
        for each in containers
    )
    return [
        np.ptp(segment[:, 1])
        for _, _, lines in containers
        for segment in lines[0].get_segments()
        if len(segment)
    ]


def labels(figure):
    return figure.axes[0].get_legend_handles_labels()[1]


def test_variants_are_drawn_as_methods(drawn, tmp_path):
    text = markdown(tmp_path, sweep_rows(3))
    names = [
        "shared pass",
        "shared pass, epochs=7",
        "shared pass, start.accuracy=0.9",
    ]
    assert labels(drawn["batch_size"]) == ["baseline", *names]
    # No baseline has trained for 7 epochs.
    assert labels(drawn["gain"]) == names[::2]
    assert labels(drawn["fit"]) == ["shared pass", "shared pass, variants"]
    assert "| shared pass | 8 | start.accuracy=0.9 | 3 | +2.00 |" in text
    plain, variant = drawn["gain"].axes[0].containers
    assert plain[0].get_color() == variant[0].get_color()
    assert variant[0].get_markerfacecolor() == "white"
    assert variant[0].get_linestyle() != plain[0].get_linestyle()


@pytest.mark.parametrize("seeds, drawn_bars", [(2, False), (3, True)])
def test_intervals_need_three_runs(seeds, drawn_bars, drawn, tmp_path):
    rows = sweep_rows(seeds)
    markdown(tmp_path, rows)
    overview.plot(rows, tmp_path / "results.png")
    for name in ("batch_size", "gain", "fit", "results"):
        found = np.asarray(bars(drawn[name]))
        assert np.isfinite(found).all() and found.all(), name
        assert (len(found) > 0) == drawn_bars, name
    label = drawn["gain"].axes[0].get_ylabel()
    assert ("with 95 % interval" in label) == drawn_bars
    label = drawn["batch_size"].axes[0].get_ylabel()
    assert ("with standard deviation" in label) == drawn_bars


def test_pictures_of_smoke_tests_are_marked(drawn, tmp_path):
    rows = [{**each, "smoke_test": True} for each in sweep_rows(2)]
    rows += [row("conadv", 8, 0, 0.5, epsilon=0.1 * i) for i in (1, 2)]
    markdown(tmp_path, rows)
    overview.plot(rows, tmp_path / "results.png")
    assert sorted(drawn) == ["batch_size", "epsilon", "fit", "gain", "results"]
    for name, figure in drawn.items():
        assert figure.get_suptitle() == "smoke test: not a result", name
