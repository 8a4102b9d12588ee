"""Only a few modules use undocumented names of Keras and TensorFlow."""

import ast
import pathlib

import pytest
import tensorflow as tf

from tests import networks

ROOT = pathlib.Path(__file__).parents[1]
SEAM = [
    ROOT / "conadv_tf" / f"{name}.py"
    for name in (
        "keras_3/internals",
        "keras_graph",
        "keras_internals",
        "keras_layers",
        "keras_optimizers",
        "keras_outputs",
        "xla_internals",
    )
]
TREES = {
    path: ast.parse(path.read_text())
    for folder in ("conadv_tf", "experiments", "tools")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path not in SEAM
}
CLASSES = [
    node
    for tree in TREES.values()
    for node in ast.walk(tree)
    if isinstance(node, ast.ClassDef)
]
LEGACY = (
    "__internal__",
    "compat.v1",
    "keras.src",
    "layers.experimental",
    "optimizers.legacy",
    "tensorflow.compiler",
    "tensorflow.python",
    "train.experimental",
)
# Runs with the TPU build of TensorFlow, without this package.
OTHER_TENSORFLOW = ROOT / "tools" / "tpu" / "kernels.py"
BY_NAME = ("delattr", "getattr", "hasattr", "setattr")
DOCUMENTED = {
    "_exit",  # os._exit ends a process without running destructors.
}


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def is_self(node):
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def private_attributes(tree):
    """Yields (object, name) of each private attribute that code uses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found = node.value, node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in BY_NAME:
            found = node.args[0], getattr(node.args[1], "value", "")
        else:
            continue
        if isinstance(found[1], str) and is_private(found[1]):
            yield found


def defined_by(cls):
    """Yields the private attributes that a class defines or assigns."""
    for node in cls.body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        names = [getattr(each, "id", "") for each in targets]
        yield from filter(is_private, [getattr(node, "name", ""), *names])
    for node in ast.walk(cls):
        if isinstance(node, ast.Attribute) and is_self(node.value):
            if isinstance(node.ctx, ast.Store) and is_private(node.attr):
                yield node.attr


OURS = {name for cls in CLASSES for name in defined_by(cls)}


def is_of_keras(cls):
    """Whether a class inherits from a class of Keras or TensorFlow."""
    by_name = {each.name: each for each in CLASSES}
    for base in map(ast.unparse, cls.bases):
        ours = by_name.get(base.split(".")[-1])
        if base.startswith(("tf.", "keras_internals.", "keras_optimizers.")):
            return True
        if ours is not None and is_of_keras(ours):
            return True
    return False


@pytest.fixture(scope="module")
def names_of_keras():
    """The private attributes of typical objects of Keras and TensorFlow."""
    model = networks.convolutional()
    model.compile("sgd", networks.LOSS, metrics=["accuracy"])
    objects = [
        model,
        *model.layers,
        model.compiled_loss,
        model.optimizer,
        model.variables[0],
        tf.Graph(),
        tf.data.Dataset.range(1),
        tf.distribute.get_strategy(),
        tf.function(lambda: None),
        tf.keras.callbacks.Callback(),
        tf.keras.losses.MeanSquaredError(),
        tf.keras.metrics.Mean(),
        tf.keras.optimizers.legacy.SGD(),
        tf.train.Checkpoint(),
    ]
    return {name for each in objects for name in dir(each) if is_private(name)}


def test_the_names_of_keras_are_found(names_of_keras):
    assert {
        "_compute_gradients",
        "_flatten_layers",
        "_get_function",
        "_jit_compile",
        "_training_state",
    } <= names_of_keras


@pytest.mark.parametrize("path", TREES, ids=lambda path: path.name)
def test_only_private_attributes_of_this_package_are_used(path, names_of_keras):
    foreign = []
    for value, name in private_attributes(TREES[path]):
        other = not is_self(value) and name in names_of_keras
        if name not in DOCUMENTED and (other or name not in OURS):
            foreign.append(f"{ast.unparse(value)}.{name} ({value.lineno})")
    assert not foreign


# Such a name would replace a method or an attribute of Keras.
@pytest.mark.parametrize(
    "cls",
    filter(is_of_keras, CLASSES),
    ids=lambda c: c.name,
)
def test_subclasses_define_no_private_name_of_keras(cls, names_of_keras):
    assert not {*defined_by(cls)} & names_of_keras


@pytest.mark.parametrize("path", TREES, ids=lambda path: path.name)
def test_no_legacy_interface_is_used(path):
    found = []
    for node in ast.walk(TREES[path]):
        names = []
        if isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found += [
            f"{name} ({node.lineno})"
            for name in names
            if any(legacy in name for legacy in LEGACY)
        ]
    assert not found or path == OTHER_TENSORFLOW
