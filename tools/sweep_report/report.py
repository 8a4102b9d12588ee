"""Puts a report together and writes it."""

import dataclasses
import functools

from conadv_tf import paths
from tools.sweep_report import page
from tools.sweep_report import sections


def contents(sweep, groups, margin, command, output_dir):
    """Everything that the report says: a list of `page.Section`s.

    `groups`: what `groups.of_sweep` returned; `margin`: points within which
    ConAdv and DisAdv count as equal; pictures are drawn to `output_dir`.
    """
    found, left_out = [], []
    several = len(groups) > 1
    for number, (name, group) in enumerate(groups.items(), start=1):
        suffix = f"_{number}" if several else ""
        draw = functools.partial(_draw, output_dir, suffix)
        if not group.cells:
            found.append(page.Section(name, ["No run has an accuracy."]))
            continue
        for section in (
            sections.accuracy(group, draw),
            sections.gains(group, draw),
            sections.fit(group, draw),
            sections.equality(group, margin),
            sections.epsilon(group, draw),
            sections.staleness(group, draw),
            sections.variants(group),
            sections.tuning(group),
            sections.speed(group),
        ):
            title = f"{name}: {section.title}" if several else section.title
            if all(isinstance(block, str) for block in section.blocks):
                left_out.append(f"{title}: {' '.join(section.blocks)}")
            else:
                found.append(page.Section(title, section.blocks))
    found.insert(0, sections.state(sweep, groups))
    if left_out:
        found.append(page.Section("What there were no runs for", [left_out]))
    found.append(sections.origin(sweep, command))
    return (
        [_marked(section) for section in found] if sweep.smoke_test else found
    )


def title(sweep, groups):
    """The report's title: what was trained, and in which folder."""
    name = sweep.name
    if not name.lower().startswith("sweep"):
        name = f"sweep {name}"
    kind = "Smoke test of " if sweep.smoke_test else ""
    return f"{kind}{', '.join(groups)}: {name}"


def _marked(section):
    """A section whose tables and pictures say that they are no results."""
    return page.Section(section.title, [*map(_mark, section.blocks)])


def _mark(block):
    if isinstance(block, page.Table):
        title = f"{block.title} (smoke test: not a result)"
        return dataclasses.replace(block, title=title)
    if isinstance(block, page.Picture):
        caption = f"Smoke test: not a result. {block.caption}"
        return dataclasses.replace(block, caption=caption)
    return block


def _draw(folder, suffix, stem, caption, description, plot, *what):
    """Draws a picture of a section; `suffix` tells those of groups apart."""
    path = folder / f"{stem}{suffix}.png"
    plot(*what, path)
    return page.Picture(path, caption, description)


def write(title, contents, output_dir, with_html):
    """Writes report.md, and report.html if wanted, and prints the tables."""
    pages = {"report.md": page.markdown(title, contents)}
    if with_html:
        pages["report.html"] = page.page(title, contents)
    for name, text in pages.items():
        with paths.atomic_write(output_dir / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    for section in contents:
        for block in section.blocks:
            if isinstance(block, page.Table):
                print(f"{block.markdown()}\n")
    print(f"Wrote {' and '.join(pages)} to {output_dir}")
