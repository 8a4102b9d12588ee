"""Throughput of a slice from the compiler's estimates for one core."""

import pytest

from tools.tpu import figure
from tools.tpu.export import METHODS


def row(method, size, milliseconds):
    return {
        "method": method,
        "batch_size": size,
        "estimated_ms": milliseconds,
    }


ROWS = [
    row("baseline", 64, 80.0),
    row("attack", 64, 10.0),
    row("disadv", 64, 200.0),
    row("phased_attack", 64, 100.0),
    row("phased_clean", 64, 90.0),
    row("conadv", 2, 4.0),
    row("conadv", 7, None),
]


def test_throughput_is_images_of_all_cores_over_the_time_of_one():
    panels = figure.bars(ROWS)
    assert list(panels) == [64, 2]
    plain, disadv, phased = panels[64]
    assert plain == figure.Bar("baseline", 512, 32768, 409.6, None)
    assert disadv.published == 81.7
    # The longest phase determines the time, on three times the cores.
    assert (phased.cores, phased.images) == (1536, 32768)
    assert phased.estimated == pytest.approx(327.68)
    assert panels[2] == [figure.Bar("conadv", 1024, 2048, 512.0, 71.3)]


def test_every_step_except_the_attack_alone_has_a_bar():
    (drawn,) = figure.bars([row(each, 8, 1.0) for each in METHODS]).values()
    assert {bar.method for bar in drawn} == set(METHODS) - {"attack"}


def test_plot_is_a_png_file(tmp_path):
    path = tmp_path / "throughput.png"
    figure.draw(figure.bars(ROWS), "TPU v3", path)
    assert path.read_bytes().startswith(b"\x89PNG")
