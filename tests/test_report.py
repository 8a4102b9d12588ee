"""The output of tools/report.py: tables, page and errors."""

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

from tests.marks import slow
from tests.sweep_rows import EVIL
from tests.sweep_rows import row
from tests.sweep_rows import write

ROOT = pathlib.Path(__file__).parents[1]


def tool(*arguments, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / "report.py"), *arguments],
        env={**os.environ, "PYTHONIOENCODING": "ascii", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A sweep with a known effect and missing runs, and the report on it."""
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
        # One and three points below the originals, partly at another rate.
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
    # They have smaller batches. Their names relate them to their rows.
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
        "| ConAdv | 32 | 3 | +2.00 | [-0.48, +4.48] | 0.0742 | 0.2967 | no |",
        # One pair has no interval.
        "| AutoAugment | 8 | 1 | -81.00 | - | - | - | - |",
        # All differences are 0.
        "| 8 | 3 | +0.00 |\n",
        "| ConAdv | 32 | 92.00 +- 1.00 (3), paper 77.4 | 93.00 (1), paper",
        "| ConAdv | 32 | 92.00 +- 1.00 (3) | 92.00 +- 1.00 (3) | 92.00 (1) |",
        "| ConAdv | 6 | 0.1 | 1 | 4 (at the edge) | 80.00 (1) | 90.00 (1) |",
        "| ConAdv | 8 | 0.1 | 1 | 4 | 2 | 3 | 92.00 | 1.00 | 100.0 | 1.00 | "
        "77.4 | +14.60 |",
        "| DisAdv | 200 | 200 |",
        "| ConAdv | 8 | a=1,b=2 | 92.00 +- 1.00 (3) | 90.00 (1) | 1 | -1.00 |",
        "| ConAdv | 8 | a=1,b=2 | 92.00 +- 1.00 (3) | 89.50 +- 0.71 (2) | 2 | "
        "-3.00 |",
        "| ConAdv, a=1,b=2 | 8 | 0.1 | 1 | 1 |",
    ):
        assert expected in text, expected
        assert expected in printed, expected


def test_missing_runs_are_listed(finished):
    folder, _ = finished
    text = (folder / "report.md").read_text("utf-8")
    for expected in (
        "24 runs finished, 1 failed, 4 missing",
        "- no run of AutoAugment, batch size 32.",
        "- AutoAugment, batch size 8 lacks seeds that others have: 2.",
        "- unequal n: between 1 and 3 seeds",
        "not in the means: AutoAugment, batch size 8, seed 0.",
        "but in the means: AutoAugment, batch size 8, seed 1.",
        "- Running, interrupted or failed (see their logs): conadv_8_seed7.",
        "1 rows of results.csv are left out: they are not on test",
        "    python 'a b'\n    python tools/report.py",
        "- cores: 16",
        "known for 1 of 25:",
        "- tensorflow 2.15.1",
        "Not a benchmark",
    ):
        assert expected in text, expected


class Page(html.parser.HTMLParser):
    """Checks that tags are nested, and collects them."""

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


def test_page_is_valid_and_self_contained(finished):
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
    names = ("batch_size", "gain", "fit", "epsilon", "tau")
    pictures = [a for tag, a in page.tags if tag == "img"]
    assert len(pictures) == len(names) and all(a["alt"] for a in pictures)
    for name in names:
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.width > 600
            assert len(picture.getcolors(1 << 24)) > 50


def test_markdown_has_no_tags(finished):
    folder, _ = finished
    text = (folder / "report.md").read_text("utf-8")
    assert "<script" not in text
    assert '&lt;script>alert("x")&lt;/script>\\|a&b |' in text


@pytest.mark.parametrize(
    "flags, message",
    [
        slow((), "Expected the folder of a sweep"),
        slow(("--margin=0",), "Expected --margin > 0; received 0.0"),
    ],
)
def test_errors_are_messages(tmp_path, flags, message):
    result = tool(str(tmp_path), *flags)
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {message}")
    assert not [*tmp_path.iterdir()]


def test_without_pandas_the_error_names_the_extra(tmp_path):
    (tmp_path / "pandas.py").write_text("raise ImportError('No pandas')")
    result = tool(str(tmp_path), PYTHONPATH=str(tmp_path))
    assert result.returncode == 1
    assert result.stderr == (
        'error: No pandas. Install it: pip install -e ".[report]"\n'
    )
