"""Who may import what: wings, their public names, the order between them."""

import ast
import importlib
import inspect
import pathlib

import pytest

import conadv_tf as ca

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = "conadv_tf"
# Each may import what stands here and all that may import in turn; and
# everyone the rooms.
BELOW = {
    "analysis": {"attacks", "model"},
    "attacks": {"distribution"},
    "batch_norm": {"distribution"},
    "callbacks": {"steps"},
    "data": {"distribution"},
    "distribution": set(),
    "model": {"attacks", "networks", "stepped_model"},
    "networks": {"batch_norm"},
    "optimizers": set(),
    "stepped_model": {"callbacks", "steps"},
    "steps": {"attacks", "batch_norm", "distribution", "networks"},
}
# And what each of these may.
ROOMS = {
    "csv_file": {"paths"},
    "keras2": set(),
    "keras_internals": set(),
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


def wing_of(module):
    """The wing or room that a module is in; "" for the package itself."""
    return (module.split(".") + [""])[1] if module in MODULES else ""


def imports_of(module):
    """(module of ours, name in it or "", name it gets here) of each import."""
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
    """What a module lets others use: its `__all__`, or its own names."""
    loaded = importlib.import_module(module)
    if hasattr(loaded, "__all__"):
        return set(loaded.__all__)
    return {
        name
        for name, value in vars(loaded).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }


def dotted(node):
    """The names of `a.b.c`, [] for what is no such chain."""
    if isinstance(node, ast.Name):
        return [node.id]
    before = dotted(node.value) if isinstance(node, ast.Attribute) else []
    return [*before, node.attr] if before else []


def not_exported(names, first):
    """The dotted names that a module of ours does not let others use."""
    for index in range(first, len(names)):
        container = ".".join(names[:index])
        if container in MODULES and not names[index].startswith("__"):
            if names[index] not in public_names(container):
                yield ".".join(names[: index + 1])


def private_uses(module):
    """What a module uses of others' and these do not export."""
    known = {}  # Name here: the dotted name of what was imported.
    for imported, name, here in imports_of(module):
        if wing_of(imported) != (wing_of(module) or None):
            known[here] = [*imported.split("."), *filter(None, [name])]
            # A wing may be imported by anyone.
            yield from not_exported(known[here], 2)
    for node in ast.walk(TREES[module]):
        before = known.get((dotted(node) or [None])[0])
        if before:
            yield from not_exported([*before, *dotted(node)[1:]], len(before))


@pytest.mark.parametrize("module", EVERYONE)
def test_only_public_names_of_other_wings_are_used(module):
    assert not sorted(set(private_uses(module)))


def below(wing):
    """All that a wing may import."""
    return BELOW[wing].union(*map(below, BELOW[wing]))


@pytest.mark.parametrize("module", sorted(set(MODULES) - {PACKAGE}))
def test_imports_point_downward(module):
    wing = wing_of(module)
    imported = {wing_of(each) for each, _, _ in imports_of(module)}
    allowed = ROOMS.get(wing)
    if allowed is None:
        allowed = {wing, *below(wing), *ROOMS}
    assert imported <= allowed


def test_every_wing_has_its_place():
    assert {wing_of(module) for module in MODULES} - {""} == {*BELOW, *ROOMS}
    for wing in BELOW:
        assert wing not in below(wing)
        loaded = importlib.import_module(f"{PACKAGE}.{wing}")
        assert hasattr(loaded, "__all__") or not hasattr(loaded, "__path__")


# Those in functions too: they only put a cycle off.
def test_imports_have_no_cycles():
    def wing_file(module):
        return f"{PACKAGE}.{wing_of(module)}"

    graph = {
        module: {imported for imported, _, _ in imports_of(module)}
        # Importing a module imports its wing, which is there for those in it.
        | {
            wing_file(imported)
            for imported, _, _ in imports_of(module)
            if wing_of(imported) not in ("", wing_of(module))
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


def test_the_library_does_not_know_its_users():
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


# A reader who looks for one would open the other.
def test_no_two_files_have_nearly_the_same_name():
    stems = [
        path.stem.rstrip("s").replace("_", "")
        for path in MODULES.values()
        if path.stem != "__init__"
    ]
    assert len(stems) == len(set(stems))
