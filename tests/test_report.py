"""tools/report.py: its statistics, its tables, its page, as a user runs it."""

import csv
import html.parser
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest

from tools import report
from tools import report_cells
from tools import report_page
from tools import report_runs

ROOT = pathlib.Path(__file__).parents[1]
EVIL = '<script>alert("x")</script>|a&b'


def row(method, batch_size, seed, top1, **changes):
    staleness = {"disadv": 0, "conadv": 1, "conadv_aa": 1}.get(method, "")
    return {
        **dict.fromkeys(report_runs.COLUMNS, 1),
        "preset": EVIL,
        "network": "resnet_cifar",
        "dataset": "digits",
        "method": method,
        "batch_size": batch_size,
        "variant": "",
        "epsilon": "" if staleness == "" else 0.1,
        "staleness": staleness,
        "learning_rate": 4.0,
        "seed": seed,
        "split": "test",
        # As Keras writes it.
        "top1": float(np.float32(top1)),
        "images_per_second": 100.0 * (seed + 1),
        "published": 77.4 if method == "conadv" else "",
        "model_dir": f"{method}_{batch_size}_seed{seed}",
        **changes,
    }


def write(folder, rows, name="results.csv", columns=report_runs.COLUMNS):
    folder.mkdir(exist_ok=True, parents=True)
    with open(folder / name, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return folder


def tool(*arguments):
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "report.py"), *arguments],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A sweep with a known effect, its gaps, and the report on it."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    rows = []
    for seed, luck in enumerate((0.0, 0.01, -0.01)):
        for size in (8, 32):
            rows.append(row("baseline", size, seed, 0.9 + luck))
            # Gains of 1, 2 and 3 points.
            gain = 0.01 * (seed + 1)
            rows.append(row("disadv", size, seed, 0.9 + luck + gain))
            rows.append(row("conadv", size, seed, 0.9 + luck + gain))
    rows += [
        row("conadv", 32, 0, 0.93, epsilon=0.2),
        row("conadv", 32, 0, 0.92, staleness=4),
        # One and three points below the rows as they are; another rate.
        *(
            row(
                "conadv",
                8,
                seed,
                top1,
                variant="a=1,b=2",
                learning_rate=rate,
                model_dir=f"conadv_8_a-1-b-2_seed{seed}",
            )
            for seed, top1, rate in ((0, 0.9, 4.0), (1, 0.9, 1), (2, 0.89, 1))
        ),
        row("aa", 8, 0, "nan", final_loss="nan"),
        row("aa", 8, 1, 0.1, final_loss="inf"),
        row("conadv", 8, 9, 1.0, split="validation"),
    ]
    write(folder, rows)
    # Smaller batches, told by their name.
    tuned = [
        row(
            "conadv",
            6,
            0,
            top1,
            learning_rate=rate,
            split="validation",
            model_dir=f"conadv_8_rate{rate:g}_seed0",
        )
        for rate, top1 in ((2.0, 0.8), (4.0, 0.9))
    ]
    write(folder / "tune", tuned, "tuning.csv")
    settings = {"command": ["python", "a b"], "cores": 16, "note": EVIL}
    (folder / "sweep.json").write_text(json.dumps(settings))
    for name in ("conadv_8_seed0", "conadv_8_seed7", "conadv_8_seed7.cut1"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text("{}")
    versions = json.dumps({"versions": {"tensorflow": "2.15.1"}})
    (folder / "conadv_8_seed0" / "summary.json").write_text(versions)
    result = tool(str(folder), "--html")
    assert result.returncode == 0, result.stderr
    return folder / "report", result.stdout


def test_numbers_of_the_tables(finished):
    folder, printed = finished
    text = (folder / "report.md").read_text("utf-8")
    for expected in (
        "| baseline | 90.00 +- 1.00 (3) | 90.00 +- 1.00 (3) |",
        "| ConAdv | 92.00 +- 1.00 (3), paper 77.4 |",
        "| AutoAugment | 10.00 (1) | - |",
        # 2 +- 4.3027 x 1 / sqrt(3); t = 2 x sqrt(3), p = 0.0742 of 4 tests.
        "| ConAdv | 32 | 3 | +2.00 | [-0.48, +4.48] | 0.2500 | 0.0742 | 0.2967 "
        "| no |",
        # One pair has no interval.
        "| AutoAugment | 8 | 1 | -81.00 | - | 1.0000 | - | - | - |",
        # All differences are 0.
        "| 8 | 3 | +0.00 | - | - | - | - | - | - |",
        "| ConAdv | 32 | 92.00 +- 1.00 (3), paper 77.4 | 93.00 (1), paper",
        "| ConAdv | 32 | 92.00 +- 1.00 (3) | 92.00 +- 1.00 (3) | 92.00 (1) |",
        "| ConAdv | 6 | 0.1 | 1 | 4 (at the edge) | 80.00 (1) | 90.00 (1) |",
        "| ConAdv | 8 | 0.1 | 1 | 4 | 2 | 3 | 92.00 | 1.00 | 77.4 | +14.60 |",
        "| DisAdv | 200 | 200 |",
        "| ConAdv | 8 | a=1,b=2 | 92.00 +- 1.00 (3) | 90.00 (1) | 1 | -1.00 |",
        "| ConAdv | 8 | a=1,b=2 | 92.00 +- 1.00 (3) | 89.50 +- 0.71 (2) | 2 | "
        "-3.00 |",
        "| ConAdv, a=1,b=2 | 8 | 0.1 | 1 | 1 |",
    ):
        assert expected in text, expected
        assert expected in printed, expected


def test_gaps_are_told(finished):
    folder, _ = finished
    text = (folder / "report.md").read_text("utf-8")
    for expected in (
        "24 runs finished, 1 failed, 4 missing",
        "- no run of AutoAugment, batch size 32.",
        "- AutoAugment, batch size 8 lacks seeds that others have: 2.",
        "- unequal n: between 1 and 3 seeds",
        "in no mean: AutoAugment, batch size 8, seed 0.",
        "its accuracy counts: AutoAugment, batch size 8, seed 1.",
        "- Running, cut off or failed, as their logs say: conadv_8_seed7.",
        "1 rows of results.csv are of another split than test",
        "    python 'a b'\n    python tools/report.py",
        "- cores: 16",
        "(of 1 of 25 runs known)",
        "- tensorflow 2.15.1",
        "Not a benchmark",
    ):
        assert expected in text, expected


def test_a_variant_stands_for_no_method(tmp_path):
    rows = [
        row("conadv", 8, seed, 0.5, variant="a=1" if seed else "")
        for seed in range(3)
    ]
    cells = report_cells.cells(
        report_runs.read_runs(write(tmp_path, rows) / "results.csv")
    )
    plain, variant = cells
    assert report_cells.references(cells) == {("conadv", 8): plain}
    assert report_cells.unchanged(cells, variant) == plain
    assert report_cells.unchanged([variant], variant) is None


class Page(html.parser.HTMLParser):
    """Checks that tags nest, and collects them."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_whole_and_needs_nothing_else(finished):
    folder, _ = finished
    text = (folder / "report.html").read_text("utf-8")
    page = Page(text)
    assert not page.open
    assert "script" not in [tag for tag, _ in page.tags]
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;|a&amp;b" in text
    for name in ("src", "href"):
        targets = [a[name] for _, a in page.tags if name in a]
        assert targets
        allowed = ("data:image/png;base64,", "#section-")
        assert all(target.startswith(allowed) for target in targets)
    assert "//" not in re.sub(r"data:image/png;base64,[^\"]*", "", text)
    assert "url(" not in text and "@import" not in text
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    labels = {
        a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a
    }
    assert labels <= set(ids)
    levels = [
        int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)
    ]
    assert levels[0] == 1 and levels.count(1) == 1
    assert max(np.diff(levels)) == 1
    assert "prefers-color-scheme: dark" in text and "overflow-x" in text
    names = ("batch_size", "gain", "epsilon", "tau")
    pictures = [a for tag, a in page.tags if tag == "img"]
    assert len(pictures) == len(names) and all(a["alt"] for a in pictures)
    for name in names:
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.width > 600
            assert len(picture.getcolors(1 << 24)) > 50


def test_markdown_takes_nothing_for_a_tag(finished):
    folder, _ = finished
    text = (folder / "report.md").read_text("utf-8")
    assert "<script" not in text
    assert '&lt;script>alert("x")&lt;/script>\\|a&b |' in text


def written(folder, rows):
    """The report in Markdown, written in this process."""
    sweep = report_runs.read_sweep(write(folder, rows))
    groups = report.group_runs(sweep, None)
    sections = report.make_sections(sweep, groups, 0.5, "command", folder)
    return report_page.markdown("title", sections)


def test_what_is_not_there_is_said(tmp_path):
    text = written(tmp_path, [row("conadv", 8, 0, 0.5)])
    assert not list(tmp_path.glob("*.png"))
    for expected in (
        "No picture against batch size",
        "No batch size has runs of the baseline and of a method.",
        "No batch size has runs of both.",
        "no method has several epsilons",
        "no method has several taus",
        "there is no tune/tuning.csv",
        "no sweep.json",
        "Nothing is missing.",
    ):
        assert expected in text, expected


def test_groups_are_kept_apart(tmp_path):
    rows = [row("baseline", 8, 0, 0.5), row("baseline", 16, 0, 0.5)]
    rows += [{**r, "network": "other", "top1": 0.25} for r in rows]
    rows.insert(0, row("disadv_aa", 16, 0, 0.5))
    rows += [{**rows[0], "network": "bad", "top1": ""}]
    text = written(tmp_path, rows)
    assert "| baseline | 25.00 (1) | 25.00 (1) |" in text
    # Methods that are not the paper's come last, by their own name.
    assert "| baseline | 50.00 (1) | 50.00 (1) |\n| disadv_aa | - |" in text
    assert "## bad on digits\n\nNo run has an accuracy." in text
    assert "(batch_size_1.png)" in text and "(batch_size_2.png)" in text


@pytest.mark.parametrize(
    "rows, columns, message",
    [
        (None, None, "has no results.csv"),
        ([], report_runs.COLUMNS, "holds no run yet"),
        ([], report_runs.COLUMNS[2:], "lacks the columns preset, network"),
        ([row("conadv", 8, 1, 0.5)] * 2, report_runs.COLUMNS, "found two of"),
        ([row("conadv", 8, 1, 50)], report_runs.COLUMNS, "received 50.0"),
        ([row("aa", 8, 1, 0.5, split="dev")], report_runs.COLUMNS, "'dev'"),
        ([row("aa", "8k", 1, 0.5)], report_runs.COLUMNS, "line 2.*'8k'"),
    ],
)
def test_bad_input(rows, columns, message, tmp_path):
    if rows is not None:
        write(tmp_path, rows, columns=columns)
    with pytest.raises(ValueError, match=message):
        report.group_runs(report_runs.read_sweep(tmp_path), None)


def test_flags_that_cannot_be(tmp_path):
    sweep = report_runs.read_sweep(write(tmp_path, [row("conadv", 8, 0, 0.5)]))
    with pytest.raises(ValueError, match=r"0.3; the runs have \[0.1\]"):
        report.group_runs(sweep, 0.3)
    with pytest.raises(ValueError, match="margin > 0; received 0"):
        report.check_margin(0.0)


def test_errors_are_messages(tmp_path):
    result = tool(str(tmp_path))
    assert result.returncode == 1
    assert result.stderr.startswith("error: Expected the folder of a sweep")
    assert not [*tmp_path.iterdir()]
