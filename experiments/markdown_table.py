"""Tables in GitHub's Markdown."""

import re


def lines(header, rows, numbers=()):
    """Yields the lines of a table, each as soon as its row is available.

    Args:
      header: titles of the columns.
      rows: iterable of rows, which are sequences of texts.
      numbers: positions of the columns to align right.
    """
    yield _line(header)
    rules = ["---"] * len(header)
    for position in numbers:
        rules[position] = "--:"
    yield f"|{'|'.join(rules)}|"
    yield from map(_line, rows)


def table(header, rows, numbers=()):
    """Returns the table with these arguments of `lines` as one text."""
    return "\n".join(lines(header, rows, numbers))


def plain(text):
    """Returns a text on one line, with "<" escaped where it starts a tag."""
    # Before a blank, "<" is a sign in Markdown and not the start of a tag.
    return re.sub(r"<(?! )", "&lt;", " ".join(text.split()))


def _line(texts):
    cells = (plain(text).replace("|", "\\|") for text in texts)
    return f"| {' | '.join(cells)} |"
