"""Starts a command."""

import sys

from absl import app

_HELP = ("-h", "-?", "help", "helpshort", "helpfull", "helpxml")


def run(main):
    """Parses the flags and calls main(argv); --help ends with status 0."""
    app.run(main, flags_parser=_parse)


def _parse(argv):
    for argument in argv[1:]:
        if argument == "--":
            break
        if argument in _HELP[:2] or argument.lstrip("-") in _HELP[2:]:
            if argument.startswith("-"):
                _help(argv[0], argument)
    return app.parse_flags_with_usage(argv)


def _help(program, argument):
    # absl shows it and ends as after an error.
    argument = "--help" if argument in _HELP[:2] else argument
    try:
        app.parse_flags_with_usage([program, argument])
    except SystemExit:
        sys.exit(0)
