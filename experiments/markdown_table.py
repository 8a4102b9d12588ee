"""Tables as GitHub's Markdown."""

import re


def lines(header, rows, numbers=()):
    """Yields the lines of a table, each as soon as its row is there.

    Args:
      header: texts above the columns.
      rows: iterable of rows of texts.
      numbers: positions of the columns that are set to the right.
    """
    yield _line(header)
    rules = ["---"] * len(header)
    for position in numbers:
        rules[position] = "--:"
    yield f"|{'|'.join(rules)}|"
    yield from map(_line, rows)


def table(header, rows, numbers=()):
    """The lines of a table in one text, see `lines`."""
    return "\n".join(lines(header, rows, numbers))


def plain(text):
    """One line that Markdown takes for text, not for HTML."""
    # A blank after it makes "<" a sign, not the start of a tag.
    return re.sub(r"<(?! )", "&lt;", " ".join(text.split()))


def _line(texts):
    cells = (plain(text).replace("|", "\\|") for text in texts)
    return f"| {' | '.join(cells)} |"
