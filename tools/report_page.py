"""A report as Markdown and as one HTML file that needs nothing else."""

import base64
import dataclasses
import html
import pathlib
import re


@dataclasses.dataclass(frozen=True)
class Table:
    """Text cells; the leading columns name the row."""

    title: str
    header: tuple
    rows: list
    note: str = ""
    num_labels: int = 1

    def markdown(self):
        """GitHub's Markdown."""
        rule = ["---"] * self.num_labels
        rule += ["--:"] * (len(self.header) - self.num_labels)
        lines = [[_cell(text) for text in self.header], rule]
        lines += [[_cell(text) for text in row] for row in self.rows]
        parts = [f"**{_plain(self.title)}**", ""]
        parts += [f"| {' | '.join(line)} |" for line in lines]
        parts += ["", _plain(self.note)] if self.note else []
        return "\n".join(parts)

    def html(self, name):
        """A table that scrolls inside itself.

        Args:
          name: id, unique in the page.
        """
        head = "".join(
            f'<th scope="col" class="label">{html.escape(text)}</th>'
            for text in self.header[: self.num_labels]
        ) + "".join(
            f'<th scope="col">{html.escape(text)}</th>'
            for text in self.header[self.num_labels :]
        )
        body = []
        for row in self.rows:
            cells = [
                f'<th scope="row">{html.escape(text)}</th>'
                for text in row[: self.num_labels]
            ]
            cells += [
                f"<td>{html.escape(text)}</td>"
                for text in row[self.num_labels :]
            ]
            body.append(f"<tr>{''.join(cells)}</tr>")
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        # No caption, which would scroll along; focusable, for keyboards.
        return (
            f'<h3 id="{name}">{html.escape(self.title)}</h3>'
            f'<div class="scroll" tabindex="0" role="region" '
            f'aria-labelledby="{name}"><table aria-labelledby="{name}">'
            f"<thead><tr>{head}</tr></thead>"
            f"<tbody>{''.join(body)}</tbody></table></div>{note}"
        )


@dataclasses.dataclass(frozen=True)
class Picture:
    """A PNG file in a report."""

    path: pathlib.Path
    caption: str
    description: str  # For those who do not see it.


@dataclasses.dataclass(frozen=True)
class Code:
    """Lines as they are."""

    text: str


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading and what is under it: str, `Table`, `Picture`, `Code`, list."""

    title: str
    blocks: list


# Images keep their white ground in the dark.
_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #ffffff;
  --faint: #5a5a5a; --line: #d0d0d0; --stripe: #f4f5f7; --link: #0b57a4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181c; --faint: #a8a8a8;
    --line: #3c4048; --stripe: #1f2228; --link: #8ab8f0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 64rem; color: var(--ink);
  background: var(--paper); font: 1rem/1.5 system-ui, sans-serif;
  overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; }
h2 { font-size: 1.25rem; margin-top: 2.2rem;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .3rem; }
p, li { max-width: 46rem; }
a { color: var(--link); }
nav ul { padding: 0; list-style: none; display: flex; flex-wrap: wrap;
  gap: .3rem 1.2rem; }
.scroll { overflow-x: auto; margin: 0 0 .5rem; }
.scroll + p, figcaption { color: var(--faint); font-size: .9rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums;
  font-size: .9rem; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line);
  white-space: nowrap; text-align: right; }
thead th { vertical-align: bottom; white-space: normal; }
tbody th, .label { text-align: left; }
tbody th { font-weight: 500; }
tbody tr:nth-child(odd) { background: var(--stripe); }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; background: #ffffff; border-radius: 4px;
  border: 1px solid var(--line); }
pre { overflow-x: auto; padding: .7rem; background: var(--stripe);
  border: 1px solid var(--line); border-radius: 4px; font-size: .85rem; }
:focus-visible { outline: 2px solid var(--link); }
"""


def markdown(title, sections):
    """The report as GitHub's Markdown.

    Args:
      title: of the report.
      sections: list of `Section`s; pictures lie beside the file.
    """
    parts = [f"# {_plain(title)}"]
    for section in sections:
        parts.append(f"## {_plain(section.title)}")
        parts += [_block_markdown(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def page(title, sections):
    """The report as one HTML document, pictures inside.

    Args:
      title: of the report.
      sections: list of `Section`s.
    """
    links, body = [], []
    for number, section in enumerate(sections, start=1):
        name = f"section-{number}"
        heading = html.escape(section.title)
        links.append(f'<li><a href="#{name}">{heading}</a></li>')
        blocks = "\n".join(
            _block_html(block, f"{name}-{index}")
            for index, block in enumerate(section.blocks, start=1)
        )
        body.append(
            f'<section aria-labelledby="{name}">\n'
            f'<h2 id="{name}">{heading}</h2>\n{blocks}\n</section>'
        )
    heading = html.escape(title)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{heading}</title>
<style>{_STYLE}</style>
</head>
<body>
<header>
<h1>{heading}</h1>
<nav aria-label="Contents"><ul>
{chr(10).join(links)}
</ul></nav>
</header>
<main>
{chr(10).join(body)}
</main>
</body>
</html>
"""


def _block_markdown(block):
    if isinstance(block, Table):
        return block.markdown()
    if isinstance(block, Picture):
        text = f"![{_plain(block.description)}]({block.path.name})"
        return f"{text}\n\n*{_plain(block.caption)}*"
    if isinstance(block, Code):
        return "\n".join(f"    {line}" for line in block.text.splitlines())
    if isinstance(block, list):
        return "\n".join(f"- {_plain(item)}" for item in block)
    return _plain(block)


def _block_html(block, name):
    if isinstance(block, Table):
        return block.html(name)
    if isinstance(block, Picture):
        data = base64.b64encode(block.path.read_bytes()).decode("ascii")
        return (
            f'<figure><img src="data:image/png;base64,{data}" '
            f'alt="{html.escape(block.description)}">'
            f"<figcaption>{html.escape(block.caption)}</figcaption></figure>"
        )
    if isinstance(block, Code):
        return f'<pre tabindex="0">{html.escape(block.text)}</pre>'
    if isinstance(block, list):
        items = "".join(f"<li>{html.escape(item)}</li>" for item in block)
        return f"<ul>{items}</ul>"
    return f"<p>{html.escape(block)}</p>"


def _plain(text):
    """One line that Markdown takes for text, not for HTML."""
    # A blank after it makes "<" a sign, not the start of a tag.
    return re.sub(r"<(?! )", "&lt;", " ".join(text.split()))


def _cell(text):
    return _plain(text).replace("|", "\\|")
