"""Code and documents avoid turns of phrase that readers have to decode."""

import pytest

from tests import language

# Folders and files that are measured together.
TEXTS = {
    "library": ["conadv_tf"],
    "scripts": ["experiments", "tools"],
    "tests": ["tests"],
    "documents": ["docs", "README.md", "BUILD.md", "CHANGELOG.md"],
}


@pytest.mark.parametrize("turn", language.TURNS)
@pytest.mark.parametrize("group", TEXTS)
def test_rates(group, turn):
    limit = language.TURNS[turn].per_10_000_words
    found = language.occurrences(TEXTS[group], language.TURNS[turn])
    allowed = limit * language.count_words(TEXTS[group]) / 10_000
    assert len(found) <= allowed, "\n".join(found)


@pytest.mark.parametrize(
    "text",
    [
        "Says what it is.",
        "Of these, one remains.",
        "Reads those of the network.",
        "It has a folder of its own.",
        "The second likewise.",
        "Draws anew.",
        "Trains it; see `fit`.",
    ],
)
def test_each_turn_is_found(text, tmp_path, monkeypatch):
    monkeypatch.setattr(language, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text(f"# Title\n\n{text}\n")
    (tmp_path / "code.py").write_text(f'"""{text}"""\n\n# {text}\n')
    found = [
        place.partition(":")[0]
        for turn in language.TURNS.values()
        for place in language.occurrences(["page.md", "code.py"], turn)
    ]
    assert found == ["page.md", "code.py", "code.py"]


def test_code_and_examples_are_not_prose(tmp_path, monkeypatch):
    monkeypatch.setattr(language, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text("Text.\n\n```sh\nlikewise\n```\n")
    (tmp_path / "code.py").write_text('"""Text.\n\n>>> print("likewise")\n"""')
    turn = language.TURNS["likewise"]
    assert not language.occurrences(["page.md", "code.py"], turn)
