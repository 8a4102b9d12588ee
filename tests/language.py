"""Measures turns of phrase that readers have to decode.

    python -m tests.language conadv_tf/steps docs   # Lists them.

The limits are rates per 10,000 words, twice the highest rate in optax,
equinox, Keras, big_vision and neural-structured-learning.
"""

import ast
import dataclasses
import functools
import io
import pathlib
import re
import sys
import tokenize

ROOT = pathlib.Path(__file__).parents[1]
# These files quote the turns.
_EXAMPLES = ("language.py", "test_language.py")


@dataclasses.dataclass(frozen=True)
class Turn:
    """A turn of phrase and how often it may occur."""

    pattern: str
    per_10_000_words: float


TURNS = {
    "what ... as a noun": Turn(
        r"\b(?<!guess )what (it|is|are|was|were|a|an|the|they|comes|came|has|"
        r"have|this|that|one|each|every|makes|goes|lies|stands|waits|does|"
        r"did|users?|others?|there|lives|takes|can|cannot|must|may|must)\b",
        5.0,
    ),
    "Of ... begins a sentence": Turn(r"(^|[.:;]\s+)Of [a-z]", 1.0),
    "those of": Turn(r"\bthose (of|that|in|which|who|with|for|from)\b", 1.4),
    "of its own": Turn(r"\bof (its|their|your|our|his|her) own\b", 0.6),
    "likewise": Turn(r"\blikewise\b", 0.6),
    "anew, besides, affair": Turn(r"\b(anew|besides|affairs?)\b", 0.6),
    "; see": Turn(r";\s+see\b", 3.4),
}


def texts_of_python(source):
    """(line, text) of each docstring, comment and string with a space."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            pieces = [getattr(piece, "value", "") for piece in node.values]
            text = "X".join(p if isinstance(p, str) else "" for p in pieces)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if " " in text:
            yield node.lineno, _prose(text)
    block, start = [], 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            start = start or token.start[0]
            block.append(token.string.lstrip("# "))
        elif token.type not in (tokenize.NL, tokenize.NEWLINE) and block:
            yield start, " ".join(block)
            block, start = [], 0


def texts_of_markdown(source):
    """(line, text) of each paragraph outside of code."""
    source = re.sub(r"```.*?```", _blank, source, flags=re.DOTALL)
    line = 1
    for paragraph in re.split(r"(\n\s*\n)", source):
        if paragraph.strip():
            yield line, paragraph
        line += paragraph.count("\n")


def _blank(match):
    return "\n" * match.group().count("\n")


def _prose(docstring):
    """A docstring without its examples."""
    return re.sub(r"^ *(>>>|\.\.\.) .*$", "", docstring, flags=re.MULTILINE)


def texts(folder):
    """(path, line, text) of the documents and the code below a folder."""
    root = ROOT / folder
    paths = [root] if root.is_file() else sorted(root.rglob("*"))
    for path in paths:
        read = {".py": texts_of_python, ".md": texts_of_markdown}.get(
            path.suffix
        )
        if read is not None and path.name not in _EXAMPLES:
            for line, text in _parsed(read, path.read_text()):
                yield path.relative_to(ROOT), line, text


@functools.cache
def _parsed(read, source):
    """The texts of a source, which is read once for all turns of phrase."""
    return list(read(source))


def count_words(folders):
    """Words of all texts below some folders."""
    return sum(
        len(text.split()) for folder in folders for *_, text in texts(folder)
    )


def occurrences(folders, turn):
    """Where a turn occurs: lines of `path:line: words around it`."""
    found = []
    for folder in folders:
        for path, line, text in texts(folder):
            for match in re.finditer(turn.pattern, text, flags=re.MULTILINE):
                around = text[max(match.start() - 30, 0) : match.end() + 30]
                where = line + text[: match.start()].count("\n")
                found.append(f"{path}:{where}: {' '.join(around.split())}")
    return found


if __name__ == "__main__":
    for name, each in TURNS.items():
        places = occurrences(sys.argv[1:], each)
        rate = 1e4 * len(places) / max(count_words(sys.argv[1:]), 1)
        print(f"== {name}: {rate:.1f}, at most {each.per_10_000_words}")
        print(*places, sep="\n")
