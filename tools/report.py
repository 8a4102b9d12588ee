"""Reports on a sweep: tables, tests, pictures.

    python tools/report.py runs/digits            # report.md and PNG files
    python tools/report.py runs/digits --html     # and report.html, one file

Takes a folder of experiments/sweep.py, finished or not, prints its tables and
writes them to --output_dir: top-1 by method and batch size beside the paper's,
gains over the baseline paired by seed with intervals and corrected tests,
ConAdv against DisAdv, accuracy against epsilon and tau, variants, speed, what
is missing, commands and versions. report.html opens without a server or a
network.
"""

import functools
import pathlib
import shlex
import sys

# Runs as a script from any folder.
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import app
from absl import flags

from tools import report_cells
from tools import report_groups
from tools import report_page
from tools import report_runs
from tools import report_sections

FLAGS = flags.FLAGS
flags.DEFINE_bool("html", False, "Also write report.html.")
flags.DEFINE_string(
    "output_dir",
    None,
    "Folder for the report, written over; by default SWEEP/report.",
)
flags.DEFINE_float(
    "epsilon",
    None,
    "Radius to compare with where a method has several; by default that with "
    "most seeds.",
    lower_bound=0.0,
)
flags.DEFINE_float(
    "margin",
    0.5,
    "Points of top-1 within which ConAdv and DisAdv count as equal. To be "
    "chosen before the results are seen.",
)


def main(argv):
    """Reads the sweep, writes the report, prints its tables."""
    if len(argv) != 2:
        raise app.UsageError(
            f"Expected the folder of one sweep; received {argv[1:]}."
        )
    folder = pathlib.Path(argv[1])
    output_dir = pathlib.Path(FLAGS.output_dir or folder / "report")
    try:
        check_margin(FLAGS.margin)
        sweep = report_runs.read_sweep(folder)
        groups = group_runs(sweep, FLAGS.epsilon)
        output_dir.mkdir(parents=True, exist_ok=True)
        command = shlex.join(["python", "tools/report.py", *sys.argv[1:]])
        sections = make_sections(
            sweep, groups, FLAGS.margin, command, output_dir
        )
        title = f"Sweep {sweep.name}: {', '.join(groups)}"
        write(title, sections, output_dir, FLAGS.html)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")


def check_margin(margin):
    """Raises a ValueError unless two cells can be equal within it."""
    if not margin > 0:
        raise ValueError(f"Expected --margin > 0; received {margin}.")


def group_runs(sweep, epsilon):
    """Runs by network and dataset: only these are compared.

    Args:
      sweep: a `Sweep`.
      epsilon: radius of the comparisons, or None.

    Returns:
      Dict from a name to a `Group`.

    Raises:
      ValueError: if two runs share setting and seed, or epsilon is given and
        no run has it.
    """
    found = {run.epsilon for run in sweep.runs} - {None}
    if epsilon is not None and not any(
        report_cells.same_epsilon(value, epsilon) for value in found
    ):
        raise ValueError(
            f"No run has --epsilon={epsilon:g}; the runs have {sorted(found)}."
        )

    def members(runs, key):
        return [run for run in runs if (run.network, run.dataset) == key]

    keys = dict.fromkeys((run.network, run.dataset) for run in sweep.runs)
    return {
        " on ".join(key): report_groups.Group(
            members(sweep.runs, key), members(sweep.tuning, key), epsilon
        )
        for key in keys
    }


def make_sections(sweep, groups, margin, command, output_dir):
    """Everything that the report says.

    Args:
      sweep: a `Sweep`.
      groups: what `group_runs` returned.
      margin: points within which ConAdv and DisAdv count as equal.
      command: of this report.
      output_dir: pathlib.Path of a folder for the pictures.

    Returns:
      List of `report_page.Section`s.
    """
    sections = [report_sections.state(sweep, groups)]
    several = len(groups) > 1
    for number, (name, group) in enumerate(groups.items(), start=1):
        suffix = f"_{number}" if several else ""
        draw = functools.partial(draw_picture, output_dir, suffix)

        if not group.cells:
            sections.append(
                report_page.Section(name, ["No run has an accuracy."])
            )
            continue
        for section in (
            report_sections.accuracy(group, draw),
            report_sections.gains(group, draw),
            report_sections.equality(group, margin),
            report_sections.epsilon(group, draw),
            report_sections.staleness(group, draw),
            report_sections.variants(group),
            report_sections.tuning(group),
            report_sections.speed(group),
        ):
            title = f"{name}: {section.title}" if several else section.title
            sections.append(report_page.Section(title, section.blocks))
    return [*sections, report_sections.origin(sweep, command)]


def draw_picture(folder, suffix, stem, caption, description, plot, *what):
    """Draws a picture of a section.

    Args:
      folder: pathlib.Path to write to.
      suffix: of the file's name, different for each group.
      stem: of the file's name.
      caption: of the picture.
      description: for those who do not see it.
      plot: function of `report_plots`.
      *what: its arguments but the path.

    Returns:
      A `report_page.Picture`.
    """
    path = folder / f"{stem}{suffix}.png"
    plot(*what, path)
    return report_page.Picture(path, caption, description)


def write(title, sections, output_dir, with_html):
    """Writes the report and prints its tables."""
    pages = {"report.md": report_page.markdown(title, sections)}
    if with_html:
        pages["report.html"] = report_page.page(title, sections)
    for name, text in pages.items():
        (output_dir / name).write_text(text, encoding="utf-8")
    for section in sections:
        for block in section.blocks:
            if isinstance(block, report_page.Table):
                print(f"{block.markdown()}\n")
    print(f"Wrote {' and '.join(pages)} to {output_dir}")


if __name__ == "__main__":
    app.run(main)
