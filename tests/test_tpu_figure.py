"""Throughput of a slice, from the compiler's estimates for a core."""

import pytest

from tools import tpu_figure

PHASES = ("one", "two")


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
    row("one", 64, 100.0),
    row("two", 64, 90.0),
    row("conadv", 2, 4.0),
    row("conadv", 7, None),
]


def test_images_of_all_cores_over_the_time_of_one():
    panels = tpu_figure.bars(ROWS, PHASES)
    assert list(panels) == [64, 2]
    plain, disadv, phased = panels[64]
    assert plain == tpu_figure.Bar("baseline", 512, 32768, 409.6, None)
    assert disadv.published == 81.7
    # Three times the cores on the same images, as fast as the longest phase.
    assert (phased.cores, phased.images) == (1536, 32768)
    assert phased.estimated == pytest.approx(327.68)
    assert panels[2] == [tpu_figure.Bar("conadv", 1024, 2048, 512.0, 71.3)]


def test_picture(tmp_path):
    path = tmp_path / "throughput.png"
    tpu_figure.draw(tpu_figure.bars(ROWS, PHASES), "TPU v3", path)
    assert path.read_bytes().startswith(b"\x89PNG")
