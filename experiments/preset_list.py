"""The list of presets that `run.py --list_presets` prints."""

import fnmatch
import textwrap

from experiments import methods
from experiments import presets
from experiments import spelling
from experiments.presets import tpu
from experiments.sweeps import grid

WIDTH = 100
_DIGITS_HEADER = ("preset", "batch size", "method")
_PAPER_HEADER = (
    "preset",
    "batch size",
    "published top-1",
    "TPU v3 slice",
    "time",
    "core-hours",
)
_SLICES_HEADER = ("TPU v3 slice", "newer slices")
_NO_BREAK = "\N{NO-BREAK SPACE}("


def matching(pattern):
    """Returns the presets that a pattern selects.

    Args:
      pattern: part of the names, which may contain "*", or the name of a group.

    Returns:
      List of `Preset`.

    Raises:
      ValueError: if there is none; the error suggests similar names.
    """
    names = presets.GROUPS.get(pattern) or fnmatch.filter(
        presets.PRESETS, f"*{pattern}*"
    )
    if not names:
        known = [*presets.PRESETS, *presets.GROUPS]
        raise ValueError(
            f"Expected a part of the name of a preset; received {pattern!r}."
            f"{spelling.did_you_mean(pattern, known)} All presets: "
            "--list_presets."
        )
    return [presets.get(name) for name in names]


def lines(found):
    """Yields the lines of a list of presets, with headings.

    Args:
      found: list of `Preset`.
    """
    headings = {}
    # The digits come first, because they run on any machine.
    for preset in sorted(found, key=lambda preset: preset.cores is not None):
        headings.setdefault(_heading(preset), []).append(preset)
    for heading, members in headings.items():
        yield heading
        if members[0].cores is None:
            yield from _table(_DIGITS_HEADER, map(_digits_row, members))
        else:
            yield from _table(_PAPER_HEADER, map(_paper_row, members))
        yield ""
    slices = sorted({p.cores for p in found if p.cores is not None})
    if slices:
        yield (
            "Newer TPU slices with as many images per batch norm; "
            "xn: with n micro-batches per device"
        )
        yield from _table(_SLICES_HEADER, map(_slices_row, slices))
        yield ""
    names = {preset.name for preset in found}
    groups = [
        f"{name} ({len(members)})"
        for name, members in presets.GROUPS.items()
        if names.issuperset(members)
    ]
    if groups:
        yield "Groups of these presets, for --list_presets and for sweep.py"
        text = ", ".join(groups).replace(" (", _NO_BREAK)
        for line in textwrap.wrap(text, WIDTH - 2):
            yield f"  {line}".replace(_NO_BREAK, " (")


def _heading(preset):
    """Returns the heading above a preset."""
    if preset.cores is not None:
        return f"{preset.source} of the paper: ImageNet"
    return f"{preset.source.partition(',')[0].capitalize()}: on any machine"


def _digits_row(preset):
    config = preset.config
    method = methods.METHODS[grid.method_name(config)].label
    if config.optimizer.name != "lars":
        method += f" with {config.optimizer.name.upper()}"
    return preset.name, f"{config.global_batch_size:,}", method


def _paper_row(preset):
    return (
        preset.name,
        f"{preset.config.global_batch_size:,}",
        "-" if preset.published is None else f"{preset.published}%",
        f"v3-{preset.cores}",
        tpu.time(preset.hours),
        f"{preset.cores * preset.hours:,.0f}",
    )


def _slices_row(cores):
    return f"v3-{cores}", ", ".join(
        name if count == 1 else f"{name} x{count}"
        for name, count in tpu.equivalents(cores)
    )


def _table(header, rows):
    """Yields the lines of a table with columns of fixed width."""
    rows = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        cells = (text.ljust(width) for text, width in zip(row, widths))
        yield f"  {'  '.join(cells)}".rstrip()
