"""The documentation site: `sphinx-build -W docs site`."""

import inspect
import pathlib
import re
import sys

from docutils import nodes
from sphinx.util import logging
from sphinx.util.inspect import stringify_signature

import conadv_tf

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import formulas

project = "conadv_tf"
author = "The conadv_tf authors"
copyright = "the conadv_tf authors"
version = release = conadv_tf.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
root_doc = "index"

# Pages are the same files that are read on their own.
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath", "amsmath"]

# Docstrings are the reference: Google's form, types from annotations.
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# Properties are listed as members too.
napoleon_use_ivar = True

# The committed outputs are shown; tests/notebook.py makes them.
nb_execution_mode = "off"

html_theme = "furo"
html_title = f"conadv_tf {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
# The button copies the commands of an example, without prompts and outputs.
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_exclude = ".linenos, .gp, .go"

# Pages that show files beside docs/.
_INCLUDED = {
    "BUILD": "building",
    "CHANGELOG": "changelog",
    "CONTRIBUTING": "contributing",
    "README": "index",
}
_LOGGER = logging.getLogger(__name__)
# Sections that napoleon reads item by item.
_ITEMIZED = ("Args:", "Raises:", "Attributes:")
_ITEM = re.compile(r"(\s*)[\w\"]+(, \w+)*: ")


def _as_rst(app, what, name, obj, options, lines):
    """Docstrings are plain text: `code` in ticks, formulas set off by indent.

    Lists of `name: text` outside of Args, Raises and Attributes get bullets.
    """
    found, section, formula, items, shown = [], "", None, None, False
    lines[:], directives = formulas.extract(lines)
    for number, line in enumerate(lines):
        if line in directives:
            found += ["", *directives[line], ""]
            continue
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
                _LOGGER.warning(
                    "Expected the LaTeX of a formula of %s in "
                    "docs/formulas.py: %r",
                    *(name, after),
                )
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


def _linked_in_included(app, path, parent, content):
    """Links in files beside docs/ lead to pages too."""
    for file, page in _INCLUDED.items():
        content[0] = content[0].replace(f"]({file}.md", f"](docs/{page}.md")
    for file in ("LICENSE", "CITATION.cff"):
        content[0] = content[0].replace(f"]({file})", f"](../{file})")


def _polished(app, tree):
    """Hides types that say nothing; keeps numbers with a spread in one line."""
    for text in list(tree.findall(nodes.Text)):
        spread = re.sub(r"(^|\s)\+-($|\s)", "\u00a0\u00b1\u00a0", text)
        if spread != text and not isinstance(text.parent, nodes.literal):
            text.parent.replace(text, nodes.Text(spread))
    for entry in tree.findall(nodes.entry):
        if re.fullmatch(r"[\d\s.,:;%+\-\u00a0\u00b1()\[\]]+", entry.astext()):
            for text in list(entry.findall(nodes.Text)):
                text.parent.replace(
                    text, nodes.Text(text.replace(" ", "\u00a0"))
                )
    for paragraph in tree.findall(nodes.paragraph):  # name (Any) - text
        texts = [child.astext() for child in paragraph[:4]]
        if texts[1:] == [" (", "Any", ")"]:
            del paragraph[1:4]
    for field in list(tree.findall(nodes.field)):
        if field[-1].astext() == "Any":  # Return type
            field.parent.remove(field)


def _titled(app, tree, page):
    """The text of a link to a page is its title, not the name of a file."""
    for link in tree.findall(nodes.reference):
        file = re.fullmatch(r"(?:docs/)?(\w+)(?:\.md)?", link.astext())
        if file is None or not link.get("internal"):
            continue
        target = _INCLUDED.get(file[1], file[1])
        named = link.astext() != file[1] or file[1] in _INCLUDED
        if named and target in app.env.titles:
            title = app.env.titles[target].astext()
            title = "first page" if target == "index" else title
            link[:] = [nodes.Text(title)]


def setup(app):
    """Connects the handlers that the pages need."""
    # Before napoleon, which reads the sections.
    app.connect("autodoc-process-docstring", _as_rst, priority=400)
    app.connect("autodoc-process-signature", _signature)
    app.connect("autodoc-skip-member", _skipped)
    app.connect("source-read", _linked)
    app.connect("include-read", _linked_in_included)
    app.connect("doctree-read", _polished)
    app.connect("doctree-resolved", _titled)
