"""A report as Markdown and as one HTML file that needs nothing else."""

import base64
import dataclasses
import html
import pathlib
import string

from conadv_tf import paths
from experiments import markdown_table
from experiments.markdown_table import plain

_STYLE = pathlib.Path(__file__).with_name("page.css")
_TEMPLATE = pathlib.Path(__file__).with_name("page.html")


@dataclasses.dataclass(frozen=True)
class Table:
    """Text cells; the leading columns name the row."""

    title: str
    header: tuple
    rows: list
    note: str = ""
    num_labels: int = 1

    @classmethod
    def of(cls, title, columns, entries, note="", num_labels=1):
        """A table with a row for each entry, without columns that say nothing.

        `columns`: from a heading to a function from an entry to a text.
        """
        entries = list(entries)
        texts = {
            heading: [text(entry) for entry in entries]
            for heading, text in columns.items()
        }
        for heading in list(columns)[num_labels:]:
            if set(texts[heading]) <= {"", "-"}:
                del texts[heading]
        rows = list(zip(*texts.values()))
        return cls(title, tuple(texts), rows, note, num_labels)

    def markdown(self):
        """GitHub's Markdown."""
        numbers = range(self.num_labels, len(self.header))
        table = markdown_table.table(self.header, self.rows, numbers)
        note = f"\n\n{plain(self.note)}" if self.note else ""
        return f"**{plain(self.title)}**\n\n{table}{note}"

    def html(self, name):
        """A table that scrolls inside itself; its id in the page is `name`."""
        column, row = 'th scope="col"', 'th scope="row"'
        head = self._row(self.header, f'{column} class="label"', column)
        body = "".join(self._row(texts, row, "td") for texts in self.rows)
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        # No caption, which would scroll along; focusable, for keyboards.
        return (
            f'<h3 id="{name}">{html.escape(self.title)}</h3>'
            f'<div class="scroll" tabindex="0" role="region" '
            f'aria-labelledby="{name}"><table aria-labelledby="{name}">'
            f"<thead>{head}</thead><tbody>{body}</tbody></table></div>{note}"
        )

    def _row(self, texts, label, number):
        """A row in HTML; `label` and `number` are tags with attributes."""
        tags = [label] * self.num_labels
        tags += [number] * (len(texts) - self.num_labels)
        row = ""
        for tag, text in zip(tags, texts):
            row += f"<{tag}>{html.escape(text)}</{tag.split()[0]}>"
        return f"<tr>{row}</tr>"


@dataclasses.dataclass(frozen=True)
class Picture:
    """A PNG file in a report."""

    path: paths.Path
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


def markdown(title, sections):
    """The report as GitHub's Markdown; pictures lie beside the file."""
    parts = [f"# {plain(title)}"]
    for section in sections:
        parts.append(f"## {plain(section.title)}")
        parts += [_block_markdown(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def page(title, sections):
    """The report as one HTML document, pictures inside."""
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
    return string.Template(_TEMPLATE.read_text("utf-8")).substitute(
        title=html.escape(title),
        style=_STYLE.read_text("utf-8"),
        links="\n".join(links),
        body="\n".join(body),
    )


def _block_markdown(block):
    if isinstance(block, Table):
        return block.markdown()
    if isinstance(block, Picture):
        text = f"![{plain(block.description)}]({block.path.name})"
        return f"{text}\n\n*{plain(block.caption)}*"
    if isinstance(block, Code):
        return "\n".join(f"    {line}" for line in block.text.splitlines())
    if isinstance(block, list):
        return "\n".join(f"- {plain(item)}" for item in block)
    return plain(block)


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
