"""Functions that refer to a network, changed to refer to its copy."""

import functools
import types
from typing import Any

from conadv_tf.networks.hidden_batch_norms import code_names
from conadv_tf.networks.hidden_batch_norms import LIBRARIES


class Rebinding:
    """Replaces objects in what a function refers to.

    Replaces them in closures, default arguments, bound objects,
    `functools.partial`, lists, tuples, dicts and the global names that the code
    mentions, and in the functions found in this way. Attributes of other
    objects are not replaced.

    Args:
      replacements: (object, its replacement) pairs.
    """

    def __init__(self, replacements: list[tuple[Any, Any]]) -> None:
        # The objects are kept, so that their ids stay unique.
        self._results = {id(old): (old, new) for old, new in replacements}

    def __call__(self, value: Any) -> Any:
        """Returns a value with replaced objects; itself if it has none."""
        if id(value) not in self._results:
            # A function may refer to itself.
            self._results[id(value)] = value, value
            self._results[id(value)] = value, self._rebuilt(value)
        return self._results[id(value)][1]

    def _rebuilt(self, value: Any) -> Any:
        if type(value) in (list, tuple):
            items = [self(each) for each in value]
            same = all(new is old for new, old in zip(items, value))
            return value if same else type(value)(items)
        if type(value) is dict:
            entries = {key: self(each) for key, each in value.items()}
            same = all(entries[key] is value[key] for key in value)
            return value if same else entries
        if isinstance(value, functools.partial):
            parts = value.func, value.args, value.keywords
            new = [self(each) for each in parts]
            same = all(one is other for one, other in zip(new, parts))
            return (
                value if same else functools.partial(new[0], *new[1], **new[2])
            )
        if isinstance(value, types.MethodType):
            bound = self(value.__self__)
            function = self(value.__func__)
            if bound is value.__self__ and function is value.__func__:
                return value
            return types.MethodType(function, bound)
        if isinstance(value, types.FunctionType):
            return self._rebuilt_function(value)
        return value

    def _rebuilt_function(self, function: types.FunctionType) -> Any:
        if (function.__module__ or "").split(".")[0] in LIBRARIES:
            return function
        cells = [self._cell(each) for each in function.__closure__ or ()]
        defaults = self(function.__defaults__)
        keyword_defaults = self(function.__kwdefaults__)
        names = code_names(function) & set(function.__globals__)
        replaced = {
            name: self(function.__globals__[name]) for name in sorted(names)
        }
        if (
            all(
                new is old
                for new, old in zip(cells, function.__closure__ or ())
            )
            and defaults is function.__defaults__
            and keyword_defaults is function.__kwdefaults__
            and all(
                function.__globals__[name] is new
                for name, new in replaced.items()
            )
        ):
            return function
        new = types.FunctionType(
            function.__code__,
            {**function.__globals__, **replaced},
            function.__name__,
            defaults,
            tuple(cells) or None,
        )
        new.__kwdefaults__ = keyword_defaults
        return new

    def _cell(self, cell: types.CellType) -> types.CellType:
        try:
            value = cell.cell_contents
        except ValueError:  # A name that is not assigned yet.
            return cell
        new = self(value)
        return cell if new is value else types.CellType(new)
