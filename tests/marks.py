"""Marks of parameters of tests."""

import functools

import pytest

# Parameters that only the slow job tests, `pytest -m slow`.
slow = functools.partial(pytest.param, marks=pytest.mark.slow)


def all_slow_but(default, values):
    """Marks all values of one parameter as slow except the default ones."""
    return [value if value in default else slow(value) for value in values]
