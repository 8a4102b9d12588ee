"""The examples in docstrings run and print the documented output."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest
import tensorflow as tf

import conadv_tf as ca

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# Names that the examples use without importing them.
NAMES = {"ca": ca, "np": np, "tf": tf}


def examples_of(module):
    """Lists the docstrings of a module that contain an example."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = finder.find(importlib.import_module(module), extraglobs=NAMES)
    return [test for test in found if test.examples]


MODULES = {
    module.name: tests
    for module in pkgutil.walk_packages(ca.__path__, "conadv_tf.")
    if (tests := examples_of(module.name))
}


@pytest.mark.parametrize("module", MODULES)
def test_examples_print_the_documented_output(module):
    if module == "conadv_tf.data.augmentation":
        importlib.import_module("keras_cv")  # Prints the name of its backend.
    if module == "conadv_tf.data.datasets":
        ca.data.load("digits", 8)  # Prints once that it prepares the data.
    for test in MODULES[module]:
        report = []
        runner = doctest.DocTestRunner(optionflags=OPTIONS)
        runner.run(test, out=report.append)
        assert not runner.failures, "".join(report)


# Shown in the example of another name, or need files or minutes, or internal.
WITHOUT = (
    *("BadRecords", "Checkpoints", "Dataset", "FolderSource", "Objective"),
    *("Source", "StalenessDrift", "describe", "measure_drift"),
    *("theorem_1_of_run", "assign_local", "local_values", "local_variable"),
    *(
        "SourceNetwork",
        "StepRunner",
        "check_batch_size",
        "check_functional",
        "check_methods",
        "layers_without_gradient",
    ),
    *("image_gradient_of", "warn_of_random_layers", "split_for_training"),
    *("rescaled_range", "warn_of_rescaling", "from_keras_3", "to_keras_3"),
    *("state_variables", "warn_of_layer_state", "writable_in_replica"),
    *("efficientnet", *(f"efficientnet_b{i}" for i in range(4)), "resnet50"),
)


def test_public_names_have_an_example():
    shown = {test.name for tests in MODULES.values() for test in tests}
    for module in (ca, ca.analysis, ca.data, ca.distribution, ca.networks):
        for name in set(module.__all__) - {*WITHOUT}:
            value = getattr(module, name)
            if callable(value):
                assert f"{value.__module__}.{value.__qualname__}" in shown
