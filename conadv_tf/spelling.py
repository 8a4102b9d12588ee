"""Names that may have been meant by one that is unknown."""

from collections.abc import Iterable
import difflib
import re

_CUTOFF = 0.7


def close_matches(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Names that are close to one, the likeliest first.

    Those that begin so, and then those of which it is a part or has the first
    letters ("lr" of "learning_rate"), group by group between dots; if there are
    none, those that are spelled nearly so.

    Args:
      name: what was received.
      names: what there is, in order of importance.
      count: how many at most.

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
    found = found or difflib.get_close_matches(name, names, count, _CUTOFF)
    return list(dict.fromkeys(found))[:count]


def did_you_mean(name: str, names: Iterable[str], count: int = 3) -> str:
    """A sentence with the close names and a space before it; or ""."""
    found = [repr(each) for each in close_matches(name, names, count)]
    return f" Did you mean {' or '.join(found)}?" if found else ""


def _abbreviates(short: str, name: str) -> bool:
    """Whether the last groups of a name may be written so."""
    shorts, groups = short.split("."), name.split(".")
    return len(shorts) <= len(groups) and all(
        _stands_for(*pair) for pair in zip(shorts[::-1], groups[::-1])
    )


def _stands_for(short: str, group: str) -> bool:
    words = re.split(r"[_-]", group)
    return len(short) > 1 and (
        short == "".join(word[:1] for word in words)
        or f"_{short}_" in f"_{group}_"
        or (len(short) > 2 and group.startswith(short))
    )
