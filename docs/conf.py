"""The documentation site: `sphinx-build -W docs site`."""

import inspect
import re

from sphinx.util.inspect import stringify_signature

import conadv_tf

project = "conadv_tf"
author = "The conadv_tf authors"
copyright = "the conadv_tf authors"
version = release = conadv_tf.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"

# Pages are the same files that are read on their own.
myst_heading_anchors = 3

# Docstrings are the reference: Google's form, types from annotations.
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# Properties are listed as members too.
napoleon_use_ivar = True

# The notebook is committed without outputs; a cell that fails is an error.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_execution_in_temp = True

html_theme = "furo"
html_title = f"conadv_tf {release}"


_INCLUDED = {"BUILD": "building", "CHANGELOG": "changelog", "README": "index"}
# Sections that napoleon reads item by item.
_ITEMIZED = ("Args:", "Raises:", "Attributes:")
_ITEM = re.compile(r"(\s*)[\w\"]+(, \w+)*: ")


def _as_rst(app, what, name, obj, options, lines):
    """Docstrings are plain text: `code` in ticks, formulas set off by indent.

    Lists of `name: text` outside of Args, Raises and Attributes get bullets.
    """
    found, section, formula, items, shown = [], "", None, None, False
    for number, line in enumerate(lines):
        depth = len(line) - len(line.lstrip())
        if line.startswith("Example: "):  # What it shows stands below.
            found += ["Example:", f"  {line[9:].capitalize()}"]
            section = "Example:"
            continue
        if line and depth == 0:
            section = line
        if formula is not None and line and depth <= formula:
            formula = None
        if formula is not None or section == "Example:":
            if ">>>" in line and not shown:
                found.append("")
                shown = True
            found.append(line)
            continue
        if items is not None and line and depth < items:
            items = None
        listed = _ITEM.match(line) and section not in _ITEMIZED
        line = _escaped(line)
        before = found[-1] if found else ""
        if listed and (depth == items or not before or before.endswith(":")):
            # Its other lines are two deeper, where the text of a bullet is.
            found += [""] * (items is None)
            items = depth
            line = f"{line[:depth]}- {line[depth:]}"
        elif line.endswith(":") and number + 2 < len(lines):
            after = lines[number + 2]
            deeper = after.startswith(" " * (depth + 1))
            if deeper and not lines[number + 1] and not _ITEM.match(after):
                formula = depth
                line += ":"
        found.append(line)
    lines[:] = found


def _escaped(line):
    parts = line.split("`")
    # What stands between two ticks is code; in the rest nothing is markup.
    parts[::2] = [re.sub(r"([|*]|_\b)", r"\\\1", part) for part in parts[::2]]
    return "``".join(parts)


def _skipped(app, what, name, obj, skip, options):
    """What Keras calls, not users."""
    return skip or name.startswith("on_")


def _signature(app, what, name, obj, options, signature, annotation):
    """For a class, the arguments of __init__: Keras's __new__ takes any."""
    if what != "class":
        return None
    arguments = inspect.signature(obj.__init__)
    arguments = arguments.replace(
        parameters=list(arguments.parameters.values())[1:]
    )
    return stringify_signature(arguments, show_annotation=False), None


def _linked(app, name, source):
    """Links to files beside docs/ lead to the pages that include them."""
    for file, page in _INCLUDED.items():
        source[0] = source[0].replace(f"](../{file}.md", f"]({page}.md")


def setup(app):
    """Connects the handlers that the pages need."""
    # Before napoleon, which reads the sections.
    app.connect("autodoc-process-docstring", _as_rst, priority=400)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _skipped)
    app.connect("source-read", _linked)
