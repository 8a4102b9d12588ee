"""Runs the main function of a command with absl."""

import io
import re
import sys

from absl import app


def run(main):
    """Parses the flags and calls main(argv). --help exits with status 0."""
    print_any_name()
    app.run(main, flags_parser=_parse)


def print_any_name():
    """Escapes characters that standard output has no code for.

    Otherwise printing the name of a folder could fail after hours of training.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # Tests replace it.
        sys.stdout.reconfigure(errors="backslashreplace")


def run_without_arguments(main):
    """Parses the flags, refuses other arguments and calls main()."""

    def checked(argv):
        if len(argv) > 1:
            raise app.UsageError(f"Unexpected arguments: {argv[1:]}")
        main()

    run(checked)


def _parse(argv):
    for argument in argv[1:]:
        if argument == "--":
            break
        if re.fullmatch(r"-h|-\?|--?help(short|full|xml)?", argument):
            try:
                app.parse_flags_with_usage(
                    [argv[0], "--help" if len(argument) == 2 else argument]
                )
            except SystemExit:
                # absl has printed the help and exits with status 1.
                sys.exit(0)
    return app.parse_flags_with_usage(argv)
