"""Names in back quotes exist: docstrings describe the code as it is.

A name is looked up in the functions and classes around the docstring, in the
module, among the modules, classes and files of this repository and the names of
Keras, and among the strings in the code, which are keys, columns and flags. The
modules are parsed, not imported, because several scripts define the same flag.
"""

import ast
import builtins
import collections
import functools
import importlib
import inspect
import keyword
import pathlib
import re
import sys

import pytest
import tensorflow as tf

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = ("conadv_tf", "experiments", "tools")
FILES = [
    path.relative_to(ROOT).as_posix()
    for folder in (*FOLDERS, "docs", "tests")
    for path in (ROOT / folder).rglob("*.*")
]
ALIASES = {
    "ca": "conadv_tf",
    "keras_cv": "keras_cv",
    "np": "numpy",
    "tf": "tensorflow",
    "tfds": "tensorflow_datasets",
}
# Objects that docstrings name after their class.
INSTANCES = {
    "dataset": "tensorflow.data.Dataset",
    "model": "conadv_tf.ConAdvModel",
    "network": "tensorflow.keras.Model",
    "optimizer": "tensorflow.keras.optimizers.Optimizer",
    "strategy": "tensorflow.distribute.Strategy",
}
KERAS = {
    *inspect.signature(tf.keras.Model.fit).parameters,
    *dir(tf.distribute.ReplicaContext),
    *dir(tf.keras.Model),
    *dir(tf.keras.callbacks),
    *dir(tf.keras.callbacks.Callback),
    *dir(tf.keras.datasets.mnist),
    *dir(tf.keras.layers),
    *dir(tf.keras.losses),
    *dir(tf.keras.mixed_precision),
    *dir(tf.keras.optimizers.Optimizer),
    *dir(tf.keras.optimizers.schedules),
}
# Names that neither the code nor a package in it defines, with the reason.
ALLOWED = {
    "HloProto": "message of XLA, which TensorFlow wraps",
    "augmented_loss": "log whose name is put together",
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    module_name(path): ast.parse(path.read_text())
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
}
NODES = [node for tree in MODULES.values() for node in ast.walk(tree)]
ATTRIBUTES = {node.attr for node in NODES if isinstance(node, ast.Attribute)}
STRINGS = {
    node.value.removeprefix("--")
    for node in NODES
    if isinstance(node, ast.Constant) and isinstance(node.value, str)
}
CLASSES = collections.defaultdict(list)
for name, tree in MODULES.items():
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            CLASSES[node.name].append(name)


# --- Namespaces -------------------------------------------------------------


def names_in(node):
    """{name: node that defines it} in a module, class or function."""
    found = {}
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.ClassDef, *FUNCTIONS)):
            found[child.name] = child
            continue
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            for alias in child.names:
                name = alias.asname or alias.name.split(".")[0]
                found[name] = (child, alias)
        elif isinstance(child, ast.arg):
            found[child.arg] = None
        elif isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            found[child.id] = None
        found.update(names_in(child))
    return found


def external(parts):
    """Whether a dotted name exists in a package outside of this repository."""
    path = parts[0]
    try:
        value = importlib.import_module(path)
        for name in parts[1:]:
            path = f"{path}.{name}"
            if not hasattr(value, name):
                importlib.import_module(path)
            value = getattr(value, name)
    except (AttributeError, ImportError):
        return False
    return True


def imported(path, rest):
    """Whether a module by its dotted path has `rest`."""
    while rest and f"{path}.{rest[0]}" in MODULES:
        path, rest = f"{path}.{rest[0]}", rest[1:]
    if path in MODULES:
        return not rest or has(path, rest)
    if path.split(".")[0] in FOLDERS:
        path, _, name = path.rpartition(".")
        return bool(path) and imported(path, [name, *rest])
    return external([*path.split("."), *rest])


def has(module, parts):
    """Whether a module of this repository has a dotted name."""
    names = names_in(MODULES[module])
    if parts[0] not in names:
        return False
    found, rest = names[parts[0]], parts[1:]
    if isinstance(found, tuple):
        node, alias = found
        if isinstance(node, ast.Import):
            path = alias.name if alias.asname else parts[0]
            return imported(path, rest)
        return imported(f"{node.module}.{alias.name}", rest)
    if isinstance(found, ast.ClassDef):
        return not rest or rest[0] in members(module, found)
    return set(rest) <= ATTRIBUTES


@functools.cache
def members(module, cls):
    """Names of the attributes and methods of a class and of its bases."""
    found = {
        node.attr
        for node in ast.walk(cls)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and getattr(node.value, "id", "") == "self"
    }
    own = names_in(cls)
    found |= {*own}
    if "__init__" in own:
        found |= {*names_in(own["__init__"].args)}
    for base in map(ast.unparse, cls.bases):
        if base.startswith("tf."):
            found |= {*dir(eval(base, {"tf": tf}))}
        for other, tree in MODULES.items():
            inherited = names_in(tree).get(base.split(".")[-1])
            if isinstance(inherited, ast.ClassDef) and inherited is not cls:
                found |= members(other, inherited)
    return found


# --- Names in docstrings ----------------------------------------------------


def docstrings(node, outer=()):
    """Yields (enclosing nodes, docstring) of each definition."""
    if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS)):
        outer = (*outer, node)
        if ast.get_docstring(node):
            yield outer, ast.get_docstring(node)
    for child in ast.iter_child_nodes(node):
        yield from docstrings(child, outer)


def in_scope(parts, module, scopes):
    """Whether a definition around a docstring has a dotted name."""
    for scope in scopes:
        if isinstance(scope, ast.Module):
            if has(module, parts):
                return True
            # Attributes that the module uses, and parameters if the docstring
            # is the module's.
            nodes = list(ast.walk(scope))
            known = {node.attr for node in nodes if hasattr(node, "attr")}
            if scope is scopes[-1]:
                known |= {node.arg for node in nodes if hasattr(node, "arg")}
        elif isinstance(scope, ast.ClassDef):
            known = members(module, scope)
        else:
            known = names_in(scope)
        if parts[0] in known and set(parts[1:]) <= ATTRIBUTES:
            return True
    return False


def in_repository(parts):
    """Whether a module, or the only class of its name, has a dotted name."""
    if len(CLASSES[parts[0]]) == 1:
        return has(CLASSES[parts[0]][0], parts)
    return any(
        imported(module, parts[length:])
        for length in range(1, len(parts) + 1)
        for module in MODULES
        if f".{module}".endswith("." + ".".join(parts[:length]))
    )


def exists(name, module, scopes):
    head, *rest = parts = name.split(".")
    if head in ALIASES:
        return imported(ALIASES[head], rest)
    return (
        name in STRINGS
        or keyword.iskeyword(name)
        or re.fullmatch(r"__\w+__", name)  # A special method of Python.
        or in_scope(parts, module, scopes)
        or in_repository(parts)
        or hasattr(builtins, name)
        or name in KERAS
        or (head in INSTANCES and imported(INSTANCES[head], rest[:1]))
        or (head in sys.stdlib_module_names and external(parts))
    )


def unknown_names(text, module, scopes):
    """Yields the names in back quotes that do not exist."""
    text = re.sub(r"^ *(>>>|\.\.\.) .*$", "", text, flags=re.MULTILINE)
    for piece in re.findall(r"`([^`]+)`", text):
        piece = " ".join(piece.split())
        flag = re.match(r"--(\w+)", piece)
        # Calls count with the name that is called; other code is not checked.
        name = re.fullmatch(r"([A-Za-z_](?:[\w.]*\w)?)(\(.*\))?", piece)
        if re.fullmatch(r"[\w./-]+(\.(csv|json|md|py)|/)", piece):
            known = piece in STRINGS or any(
                f"/{path}".endswith(f"/{piece}") for path in FILES
            )
        elif flag:
            known = flag[1] in STRINGS
        else:
            known = name is None or exists(name[1], module, scopes)
        if not known and piece not in ALLOWED:
            yield piece


@pytest.mark.parametrize("module", MODULES)
def test_names_in_back_quotes_exist(module):
    missing = [
        f"{getattr(scopes[-1], 'name', 'module')}: `{name}`"
        for scopes, text in docstrings(MODULES[module])
        for name in unknown_names(text, module, scopes)
    ]
    assert not missing


# Proves that the test above can fail.
@pytest.mark.parametrize(
    "name",
    [
        *("perturbation.py", "steps/split.py", "--epsilons_of_attack"),
        *("craft_images", "ca.PDG", "ca.PGD.crafting", "tf.keras.Modell"),
        *("ConAdvModel.fitt", "paths.of", "steps.lowerings", "model.fitt(x)"),
    ],
)
def test_a_stale_name_is_found(name):
    module = "conadv_tf.csv_file"
    scopes = [MODULES[module]]
    assert list(unknown_names(f"See `{name}`.", module, scopes)) == [name]
