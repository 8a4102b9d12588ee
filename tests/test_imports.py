"""Imports between subpackages: their order, and only of public names.

A subpackage is a folder or a module at the top of conadv_tf.
"""

import ast
import importlib
import inspect
import pathlib

import pytest

import conadv_tf as ca

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = "conadv_tf"
# {subpackage: subpackages that it may import}. It may also import all of
# SHARED_MODULES, and whatever these subpackages may import.
BELOW = {
    "analysis": {"attacks", "model"},
    "attacks": {"distribution", "keras_3"},
    "batch_norm": {"distribution"},
    "callbacks": {"steps"},
    "data": {"distribution"},
    "distribution": set(),
    "keras_3": {"distribution"},
    "model": {"attacks", "networks", "stepped_model"},
    "model_state": {"steps"},
    "networks": {"batch_norm", "keras_3"},
    "optimizers": {"keras_3"},
    "stepped_model": {"callbacks", "model_state", "steps"},
    "steps": {"attacks", "batch_norm", "distribution", "networks"},
}
# {module that every subpackage may import: shared modules that it may import}.
SHARED_MODULES = {
    "csv_file": {"paths"},
    "keras2": set(),
    "keras_graph": set(),
    "keras_internals": set(),
    "keras_layers": set(),
    "keras_optimizers": set(),
    "keras_outputs": set(),
    "network_checks": set(),
    "paths": set(),
    "spelling": set(),
    "types": set(),
    "xla_internals": set(),
}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def files(folder):
    return {
        module_name(path): path
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


MODULES = files(PACKAGE)
USERS = {**files("experiments"), **files("tools")}
EVERYONE = {**MODULES, **USERS}
TREES = {name: ast.parse(path.read_text()) for name, path in EVERYONE.items()}


def subpackage_of(module):
    """The subpackage or shared module of a module; "" for conadv_tf itself."""
    return (module.split(".") + [""])[1] if module in MODULES else ""


def imports_of(module):
    """Yields (imported module, name in it or "", name given to it)."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: relative import"
            for alias in node.names:
                here = alias.asname or alias.name
                whole = f"{node.module}.{alias.name}"
                if whole in EVERYONE:
                    yield whole, "", here
                elif node.module in EVERYONE:
                    yield node.module, alias.name, here
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in EVERYONE:
                    yield alias.name, "", alias.asname or alias.name


def public_names(module):
    """The names that others may use: `__all__`, or all without underscore."""
    loaded = importlib.import_module(module)
    if hasattr(loaded, "__all__"):
        return set(loaded.__all__)
    return {
        name
        for name, value in vars(loaded).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }


def dotted(node):
    """Splits a node like a.b.c into its names; [] for any other node."""
    if isinstance(node, ast.Name):
        return [node.id]
    before = dotted(node.value) if isinstance(node, ast.Attribute) else []
    return [*before, node.attr] if before else []


def not_exported(names, first):
    """Yields the prefixes of a dotted name that are not public."""
    for index in range(first, len(names)):
        container = ".".join(names[:index])
        if container in MODULES and not names[index].startswith("__"):
            if names[index] not in public_names(container):
                yield ".".join(names[: index + 1])


def private_uses(module):
    """Yields the names of other subpackages that a module may not use."""
    known = {}  # {name in this module: dotted name of the import}.
    for imported, name, here in imports_of(module):
        if subpackage_of(imported) != (subpackage_of(module) or None):
            known[here] = [*imported.split("."), *filter(None, [name])]
            # The first two names are a subpackage, which is public.
            yield from not_exported(known[here], 2)
    for node in ast.walk(TREES[module]):
        before = known.get((dotted(node) or [None])[0])
        if before:
            yield from not_exported([*before, *dotted(node)[1:]], len(before))


@pytest.mark.parametrize("module", EVERYONE)
def test_only_public_names_of_other_subpackages_are_used(module):
    assert not sorted(set(private_uses(module)))


def below(subpackage):
    """The subpackages that a subpackage may import, directly or indirectly."""
    return BELOW[subpackage].union(*map(below, BELOW[subpackage]))


@pytest.mark.parametrize("module", sorted(set(MODULES) - {PACKAGE}))
def test_imports_point_downward(module):
    subpackage = subpackage_of(module)
    imported = {subpackage_of(each) for each, _, _ in imports_of(module)}
    allowed = SHARED_MODULES.get(subpackage)
    if allowed is None:
        allowed = {subpackage, *below(subpackage), *SHARED_MODULES}
    assert imported <= allowed


def test_every_subpackage_has_a_place_in_the_order():
    assert {subpackage_of(module) for module in MODULES} - {""} == {
        *BELOW,
        *SHARED_MODULES,
    }
    for subpackage in BELOW:
        assert subpackage not in below(subpackage)
        loaded = importlib.import_module(f"{PACKAGE}.{subpackage}")
        assert hasattr(loaded, "__all__") or not hasattr(loaded, "__path__")


# Includes imports in functions, which only postpone a cycle.
def test_imports_have_no_cycles():
    def subpackage_file(module):
        return f"{PACKAGE}.{subpackage_of(module)}"

    graph = {
        module: {imported for imported, _, _ in imports_of(module)}
        # Importing a module first imports its subpackage, unless the importing
        # module belongs to it.
        | {
            subpackage_file(imported)
            for imported, _, _ in imports_of(module)
            if subpackage_of(imported) not in ("", subpackage_of(module))
        }
        for module in EVERYONE
    }
    done = set()

    def visit(module, above):
        assert module not in above, f"cycle: {' -> '.join([*above, module])}"
        if module in done:
            return
        for other in graph[module]:
            visit(other, [*above, module])
        done.add(module)

    for module in graph:
        visit(module, [])


def test_the_library_imports_no_experiments_and_no_tools():
    for module in MODULES:
        for node in ast.walk(TREES[module]):
            names = [getattr(node, "module", None) or ""]
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            tops = {name.split(".")[0] for name in names}
            assert not tops & {"absl", "experiments", "tools"}, module


def test_dir_shows_the_public_names():
    shown = {name for name in dir(ca) if not name.startswith("__")}
    assert shown == set(ca.__all__)
    assert "__version__" in dir(ca)


# Readers would open the wrong file.
def test_no_two_files_have_nearly_the_same_name():
    stems = [
        path.stem.rstrip("s").replace("_", "")
        for path in MODULES.values()
        if path.stem != "__init__"
    ]
    assert len(stems) == len(set(stems))
