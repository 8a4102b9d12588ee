"""Suggests known names that are similar to an unknown one."""

from collections.abc import Iterable
import difflib
import re

_CUTOFF = 0.7
_SEPARATORS = r"[._-]"  # Between words.


def close_matches(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Returns the known names that are closest to a name, best first.

    First come names that start with it. Then come names that it abbreviates: a
    part of the name or its initials ("lr" for "learning_rate"), compared group
    by group between dots. If there are neither, it returns names that are
    spelt similarly, as a whole or in some of their words.

    Args:
      name: the unknown name.
      names: the known names, in order of importance.
      count: maximum number of names to return.

    Example:
      >>> from conadv_tf import spelling
      >>> names = ["lars", "optimizer.learning_rate"]
      >>> spelling.close_matches("optimizer.lr", names)
      ['optimizer.learning_rate']
    """
    names = list(dict.fromkeys(names))
    name = name.lower()
    found = [each for each in names if each.lower().startswith(name)]
    found += [each for each in names if _abbreviates(name, each.lower())]
    found = found or _similar(name, names)
    return list(dict.fromkeys(found))[:count]


def did_you_mean(name: str, names: Iterable[str], count: int = 3) -> str:
    """Returns " Did you mean ...?" with the closest names, or ""."""
    found = [repr(each) for each in close_matches(name, names, count)]
    return f" Did you mean {' or '.join(found)}?" if found else ""


def _similar(name: str, names: Iterable[str]) -> list[str]:
    """Returns the names with a similar spelling, the most similar first."""
    count = len(re.split(_SEPARATORS, name))

    def similarity(other: str) -> float:
        words = re.split(_SEPARATORS, other)
        parts = (
            "_".join(words[start : start + count])
            for start in range(len(words) - count + 1)
        )
        return max(
            difflib.SequenceMatcher(None, text, name).ratio()
            for text in (other, *parts)
        )

    scores = {each: similarity(each.lower()) for each in names}
    found = [each for each, score in scores.items() if score >= _CUTOFF]
    return sorted(found, key=lambda each: -scores[each])


def _abbreviates(short: str, name: str) -> bool:
    """Returns whether a text may abbreviate the last groups of a name."""
    shorts, groups = short.split("."), name.split(".")
    return len(shorts) <= len(groups) and all(
        _abbreviates_group(*pair) for pair in zip(shorts[::-1], groups[::-1])
    )


def _abbreviates_group(short: str, group: str) -> bool:
    words = re.split(r"[_-]", group)
    return len(short) > 1 and (
        short == "".join(word[:1] for word in words)
        or f"_{short}_" in f"_{group}_"
        or (len(short) > 2 and group.startswith(short))
    )
