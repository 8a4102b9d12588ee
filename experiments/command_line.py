"""Runs the main function of a command with absl."""

import io
import os
import pathlib
import re
import sys

from absl import app
from absl import flags

from experiments import spelling

_HELP = "All flags: --helpshort."


def run(main, settings=()):
    """Parses the flags and calls main(argv). --help exits with status 0.

    Args:
      main: function of the arguments that are not flags.
      settings: names that --set takes, to suggest for an unknown flag.
    """

    def checked(argv):
        try:
            main(argv)
        except app.UsageError as error:
            sys.exit(f"error: {error} {_HELP}")

    print_any_name()
    app.run(checked, flags_parser=lambda argv: _parse(argv, settings))


def command(from_any_folder=False):
    """Returns the words that start the running command in a shell.

    Args:
      from_any_folder: whether to return the path with which the script was
        started; otherwise its path relative to the project.
    """
    main = sys.modules["__main__"]
    if hasattr(main, "COMMAND"):  # A console script.
        return [main.COMMAND]
    return ["python", sys.argv[0] if from_any_folder else _script()]


def print_any_name():
    """Escapes characters that standard output has no code for.

    Otherwise printing the name of a folder could fail after hours of training.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # Tests replace it.
        sys.stdout.reconfigure(errors="backslashreplace")


def print_text(text):
    """Prints a long text, of which a reader may take only a part."""
    try:
        print(text, flush=True)
    except BrokenPipeError:  # Exiting would write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run_without_arguments(main):
    """Parses the flags, refuses other arguments and calls main()."""

    def checked(argv):
        if len(argv) > 1:
            raise app.UsageError(f"Unexpected arguments: {argv[1:]}.")
        main()

    run(checked)


def _parse(argv, settings):
    for argument in argv[1:]:
        if argument == "--":
            break
        if re.fullmatch(r"-h|-\?|--?help(short)?", argument):
            _print_help()
            sys.exit(0)
        if re.fullmatch("--?help(full|xml)", argument):
            try:
                app.parse_flags_with_usage([argv[0], argument])
            except SystemExit:
                # absl has printed the help and exits with status 1.
                sys.exit(0)
    try:
        return flags.FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        meant = _did_you_mean(error.flagname, settings)
        sys.exit(f"error: Unknown flag --{error.flagname}.{meant} {_HELP}")
    except flags.Error as error:
        sys.exit(f"error: {error}. {_HELP}")


def _script():
    """Returns the path of the running script in the project."""
    return "/".join(pathlib.Path(sys.argv[0]).parts[-2:])


def _print_help():
    """Prints the text at the top of the script, and its flags."""
    name = " ".join(command())
    text = sys.modules["__main__"].__doc__.replace(f"python {_script()}", name)
    listed = flags.FLAGS.main_module_help().replace(sys.argv[0], name, 1)
    print_text(f"{text}{listed}")


def _did_you_mean(name, settings):
    """Returns a question with the flags and settings that may be meant."""
    own = [
        flag
        for flag in flags.FLAGS
        if not flags.FLAGS.find_module_defining_flag(flag).startswith("absl.")
    ]
    meant = [
        f"--{each}" if each in own else f"--set {each}=..."
        for each in spelling.close_matches(name, [*own, *settings])
    ]
    return f" Did you mean {' or '.join(meant)}?" if meant else ""
