"""The tool that counts what the training step costs."""

import csv
import json
import pathlib
import re

import pytest
import tensorflow as tf

from conadv_tf import xla_internals
from conadv_tf.steps import lowering
from experiments.methods import BASE_METHODS
from tests import networks
from tests.tool_runs import run_tool
from tools.step import cost as cost_lib
from tools.step import hlo_cost
from tools.step import models

ROOT = pathlib.Path(__file__).parents[1]


def compiled(function, *shapes):
    specs = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    return xla_internals.optimized_hlo(
        tf.function(function, jit_compile=True), *specs
    )


def with_gradients(function):
    def run(images, kernel):
        with tf.GradientTape() as tape:
            tape.watch([images, kernel])
            result = function(images, kernel)
            loss = tf.reduce_sum(result**2)
        return tape.gradient(loss, [images, kernel])

    return run


# --- Operations, bytes, memory ----------------------------------------------


def test_a_matrix_product():
    proto = compiled(lambda x, w: x @ w, [8, 6], [6, 5])
    cost = hlo_cost.cost(proto)
    assert (cost.products, cost.product_operations) == (1, 2 * 8 * 6 * 5)
    assert cost.other_operations == 0
    assert cost.bytes_accessed == 4 * (8 * 6 + 6 * 5 + 8 * 5)
    assert hlo_cost.argument_bytes(proto) == 4 * (8 * 6 + 6 * 5)
    assert lowering.temporary_bytes(proto) >= 4 * 8 * 5


def test_gradients_of_a_matrix_product_cost_one_each():
    proto = compiled(with_gradients(tf.matmul), [8, 6], [6, 5])
    assert hlo_cost.cost(proto).products == 3
    assert hlo_cost.cost(proto).product_operations == 3 * 2 * 8 * 6 * 5


# An image and a kernel of ones: each multiplication that meets no padding adds
# one to the sum of the convolution.
@pytest.mark.parametrize(
    "images, kernel, strides, padding, dilations",
    [
        ([2, 9, 8, 4], [3, 3, 4, 5], 1, "SAME", 1),
        ([2, 9, 8, 4], [3, 3, 4, 5], 2, "SAME", 1),
        ([2, 9, 8, 4], [1, 1, 4, 5], 2, "SAME", 1),
        ([2, 9, 8, 4], [3, 2, 4, 5], 1, "VALID", 1),
        ([2, 9, 8, 4], [7, 7, 4, 5], 2, "SAME", 1),
        ([2, 9, 8, 4], [3, 3, 4, 5], 1, "SAME", 2),
        ([2, 9, 8, 4], [3, 3, 2, 6], 1, "SAME", 1),  # Two groups.
    ],
)
def test_a_convolution_and_its_gradients(
    images, kernel, strides, padding, dilations
):
    def convolution(x, w):
        return tf.nn.conv2d(x, w, strides, padding, dilations=dilations)

    # Two operations for each multiplication that is added.
    expected = 2 * tf.reduce_sum(convolution(tf.ones(images), tf.ones(kernel)))
    cost = hlo_cost.cost(compiled(convolution, images, kernel))
    assert (cost.products, cost.product_operations) == (1, expected)
    cost = hlo_cost.cost(compiled(with_gradients(convolution), images, kernel))
    assert (cost.products, cost.product_operations) == (3, 3 * expected)


def test_elementwise_operations_reductions_and_fusions():
    cost = hlo_cost.cost(compiled(lambda x: tf.exp(x * 2 + x), [8, 6]))
    assert cost.other_operations == 3 * 48
    assert cost.bytes_accessed == 4 * (48 + 48)  # One fusion.
    cost = hlo_cost.cost(compiled(lambda x: tf.reduce_sum(x, axis=0), [8, 6]))
    assert cost.other_operations == 48 - 6
    # A window of 9 takes 8 steps.
    pool = compiled(lambda x: tf.nn.max_pool2d(x, 3, 2, "SAME"), [2, 8, 8, 4])
    assert hlo_cost.cost(pool).other_operations == 8 * (2 * 4 * 4 * 4)
    # Of the pairs (value, index) a step compares and selects twice.
    cost = hlo_cost.cost(compiled(lambda x: tf.argmax(x, axis=1), [8, 6]))
    assert cost.other_operations > 2 * (48 - 8)


def test_calls_of_libraries_are_refused():
    proto = compiled(lambda x: x + 1, [8])
    instruction = proto.hlo_module.computations[-1].instructions[-1]
    instruction.opcode = "custom-call"
    instruction.custom_call_target = "__onednn$matmul"
    with pytest.raises(ValueError, match="onednn.matmul"):
        hlo_cost.cost(proto)


def test_the_dearer_branch_of_a_conditional_counts():
    def function(x):
        return tf.cond(x[0, 0] > 0, lambda: x @ x @ x, lambda: x @ x)

    cost = hlo_cost.cost(compiled(function, [4, 4]))
    assert cost.products == 2
    # Three matrices for each product; the condition reads one, writes a bool.
    assert cost.bytes_accessed == 2 * (3 * 4 * 16) + 4 * 16 + 1


# --- The report -------------------------------------------------------------


@pytest.mark.parametrize("method", BASE_METHODS)
def test_step_of_a_small_network_in_closed_form(method):
    tf.keras.utils.set_random_seed(0)
    row = cost_lib.of_method(method, networks.convolutional(), 8)
    # Two convolutions of 3x3 on 6x6, of which 16 of 18 pairs of an output
    # and a tap lie inside in each dimension, then a layer of 4 by 3.
    first, second, last = (
        2 * 8 * 16**2 * 1 * 4,
        2 * 8 * 16**2 * 4 * 4,
        2 * 8 * 4 * 3,
    )
    forward = first + second + last
    # Nobody needs the gradient for the images.
    training = 3 * forward - first
    attacked = method != "baseline"
    assert row["product_operations"] == (
        2 * training + 2 * forward if attacked else training
    )
    assert row["operations"] > row["product_operations"]
    # Clean and adversarial images are trained on in one pass.
    assert row["products"] == (8 + 6 if attacked else 8)
    chains = {"baseline": 6, "disadv": 12, "conadv": 6}
    assert row["longest_chain"] == chains[method]
    assert row["memory_bytes"] > row["argument_bytes"]


def test_graph_report(tmp_path):
    result = run_tool("graph_report", tmp_path, "--method=baseline")
    with open(tmp_path / "graph_report.csv", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    # Seven convolutions, two projections and the last layer.
    assert row["products"] == str(3 * 10 - 1)
    assert row["longest_chain"] == str(2 * 8)
    assert row["batch_size"] == "2"
    assert "| baseline | 29 (1.000) | 16 (1.000) |" in result.stdout
    saved = json.loads((tmp_path / "graph_report.json").read_text())
    assert str(saved["steps"][0]["operations"]) == row["operations"]


def test_unknown_networks_are_named():
    with pytest.raises(ValueError, match="received 'resnet50x4'"):
        models.network("resnet50x4", 32)


# Nine lines of TensorFlow's before a word of ours.
def test_commands_are_silent_at_their_start():
    commands = [
        path
        for folder in ("experiments", "tools")
        for path in (ROOT / folder).glob("*.py")
        if '__name__ == "__main__"' in path.read_text()
    ]
    assert len(commands) > 8
    for path in commands:
        text = path.read_text()
        setting = 'os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")'
        packages = "absl|conadv_tf|experiments|tools|numpy|tensorflow"
        first = re.search(rf"^(from|import) ({packages})", text, re.MULTILINE)
        assert 0 < text.find(setting) < first.start(), path
