"""Export of training steps for the TPU compiler."""

import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks
from tests.marks import all_slow_but
from tools.tpu import export
from tools.tpu.export import ROLES


@pytest.mark.parametrize(
    "method",
    all_slow_but(
        ["baseline", "conadv", "shared_pass", "role_attack"],
        (*export.METHODS, *ROLES),
    ),
)
def test_every_step_is_exported_with_static_shapes(method):
    function, specs = export.step_function(
        networks.convolutional(), method, 8, ca.PGD(0.1)
    )
    # A name scope marks the operations of the attack.
    assert (b"attack/" in export.hlo(function, specs)) == (
        method not in ("baseline", "role_adversarial", "role_clean")
    )
    names = {name for name, _ in export.operations(function, specs)}
    assert {"Conv2D", "ReadVariableOp"} <= names
    assert "Placeholder" not in names


# With a constant seed the compiler folded most of the random draws into
# constants, and the attack alone looked cheaper than within a step.
def test_attack_alone_takes_its_seed():
    _, specs = export.step_function(networks.linear(), "attack", 4, ca.PGD(0.1))
    assert specs[-1] == tf.TensorSpec([2], tf.int64)


def test_operations_of_called_functions_are_listed_once():
    @tf.function
    def step(x):
        x = tf.cond(x[0] > 0, lambda: tf.sin(x), lambda: x + 1)
        return tf.sin(x)

    found = export.operations(step, [tf.TensorSpec([2])])
    assert found.count(("Sin", {"T": ["float32"]})) == 1
    assert ("AddV2", {"T": ["float32"]}) in found


def test_unknown_method_is_refused():
    with pytest.raises(ValueError, match="received 'fast'"):
        export.step_function(networks.linear(), "fast", 4, ca.PGD(0.1))
