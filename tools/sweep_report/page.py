"""Reports as Markdown and as one self-contained HTML file."""

import base64
import dataclasses
import html
import pathlib
import string

import pandas as pd

from conadv_tf import paths
from experiments import markdown_table
from experiments.markdown_table import plain

_STYLE = pathlib.Path(__file__).with_name("page.css")
_TEMPLATE = pathlib.Path(__file__).with_name("page.html")


def formatted(values, template, missing=""):
    """Formats the values of a Series; `missing` stands for NaN."""
    texts = [
        missing if pd.isna(value) else template.format(value)
        for value in values
    ]
    return pd.Series(texts, values.index, dtype=object)


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
      title: str.
      texts: DataFrame of str; its columns are the headings.
      note: str below the table.
      num_labels: number of the leading columns, which name the row.
    """

    title: str
    texts: pd.DataFrame
    note: str = ""
    num_labels: int = 1

    @classmethod
    def from_columns(cls, title, columns, note="", num_labels=1):
        """Makes a table without the columns that are empty or have only dashes.

        Args:
          title: str.
          columns: {heading: Series or array}, converted to texts.
          note: str.
          num_labels: number of the leading columns, which are always there.

        Returns:
          A `Table`.
        """
        texts = pd.DataFrame(columns).astype(str)
        is_kept = ~texts.isin(["", "-"]).all()
        is_kept[:num_labels] = True
        return cls(title, texts.loc[:, is_kept], note, num_labels)

    def markdown(self):
        """Returns the table in GitHub's Markdown."""
        numbers = range(self.num_labels, self.texts.shape[1])
        rows = self.texts.to_numpy()
        table = markdown_table.table(self.texts.columns, rows, numbers)
        note = f"\n\n{plain(self.note)}" if self.note else ""
        return f"**{plain(self.title)}**\n\n{table}{note}"

    def html(self, name):
        """Returns an HTML table that scrolls; `name` is its id in the page."""
        column, row = 'th scope="col"', 'th scope="row"'
        head = self._row(self.texts.columns, f'{column} class="label"', column)
        body = "".join(
            self._row(texts, row, "td") for texts in self.texts.to_numpy()
        )
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        # A caption would scroll along. With the focus, keyboards can scroll.
        return (
            f'<h3 id="{name}">{html.escape(self.title)}</h3>'
            f'<div class="scroll" tabindex="0" role="region" '
            f'aria-labelledby="{name}"><table aria-labelledby="{name}">'
            f"<thead>{head}</thead><tbody>{body}</tbody></table></div>{note}"
        )

    def _row(self, texts, label, number):
        """Returns a row; `label` and `number` are tags with attributes."""
        tags = [label] * self.num_labels
        tags += [number] * (len(texts) - self.num_labels)
        row = ""
        for tag, text in zip(tags, texts):
            row += f"<{tag}>{html.escape(text)}</{tag.split()[0]}>"
        return f"<tr>{row}</tr>"


@dataclasses.dataclass(frozen=True)
class Figure:
    """A PNG file.

    Attributes:
      path: path of the file.
      caption: text below the figure.
      description: alternative text.
    """

    path: paths.Path
    caption: str
    description: str


@dataclasses.dataclass(frozen=True)
class Code:
    """Lines of code in one string, `text`."""

    text: str


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading and the blocks below it.

    Attributes:
      title: the heading.
      blocks: list of str, `Table`, `Figure`, `Code` and lists of str.
    """

    title: str
    blocks: list


def markdown(title, sections):
    """Returns a report in GitHub's Markdown; the figures are separate files."""
    parts = [f"# {plain(title)}"]
    for section in sections:
        parts.append(f"## {plain(section.title)}")
        parts += [_block_markdown(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def write(title, sections, output_dir, with_html):
    """Writes report.md, and report.html if wanted, and prints the tables."""
    pages = {"report.md": markdown(title, sections)}
    if with_html:
        pages["report.html"] = page(title, sections)
    for name, text in pages.items():
        with paths.atomic_write(output_dir / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Table):
                print(f"{block.markdown()}\n")
    print(f"Wrote {' and '.join(pages)} to {output_dir}")


def page(title, sections):
    """Returns a report as one HTML document with embedded figures."""
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
    if isinstance(block, Figure):
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
    if isinstance(block, Figure):
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
