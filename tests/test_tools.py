"""graph_report.py: operations, bytes and memory of a training step."""

import csv
import json

import pytest
import tensorflow as tf

from conadv_tf import xla_internals
from conadv_tf.steps import temporary_bytes
from experiments.methods import COMPARED
from tests import networks
from tests.tool_runs import run_tool
from tests.tool_runs import TINY
from tools.step import cost
from tools.step import models


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


def products(proto):
    counts = cost.count(proto)
    return counts["products"], counts["product_operations"]


# --- Operations, bytes, memory ----------------------------------------------


def test_a_matrix_product():
    proto = compiled(lambda x, w: x @ w, [8, 6], [6, 5])
    assert products(proto) == (1, 2 * 8 * 6 * 5)
    counts = cost.count(proto)
    assert counts["other_operations"] == 0
    assert counts["bytes_accessed"] == 4 * (8 * 6 + 6 * 5 + 8 * 5)
    assert cost.argument_bytes(proto) == 4 * (8 * 6 + 6 * 5)
    assert temporary_bytes(proto) >= 4 * 8 * 5


def test_each_gradient_of_a_matrix_product_costs_a_product():
    proto = compiled(with_gradients(tf.matmul), [8, 6], [6, 5])
    assert products(proto) == (3, 3 * 2 * 8 * 6 * 5)


# Images and kernel are ones, so that each multiplication outside of the padding
# adds one to the sum of the convolution.
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

    # A multiplication and an addition for each of them.
    expected = 2 * tf.reduce_sum(convolution(tf.ones(images), tf.ones(kernel)))
    assert products(compiled(convolution, images, kernel)) == (1, expected)
    proto = compiled(with_gradients(convolution), images, kernel)
    assert products(proto) == (3, 3 * expected)


def test_elementwise_operations_reductions_and_fusions():
    def others(function, shape):
        return cost.count(compiled(function, shape))["other_operations"]

    fusion = cost.count(compiled(lambda x: tf.exp(x * 2 + x), [8, 6]))
    assert fusion["other_operations"] == 3 * 48
    assert fusion["bytes_accessed"] == 4 * (48 + 48)
    assert others(lambda x: tf.reduce_sum(x, axis=0), [8, 6]) == 48 - 6
    # The maximum of nine values takes eight comparisons.
    assert others(
        lambda x: tf.nn.max_pool2d(x, 3, 2, "SAME"), [2, 8, 8, 4]
    ) == 8 * (2 * 4 * 4 * 4)
    # For pairs (value, index) each step compares once and selects twice.
    assert others(lambda x: tf.argmax(x, axis=1), [8, 6]) > 2 * (48 - 8)


def test_calls_into_other_libraries_are_refused():
    proto = compiled(lambda x: x + 1, [8])
    instruction = proto.hlo_module.computations[-1].instructions[-1]
    instruction.opcode = "custom-call"
    instruction.custom_call_target = "__onednn$matmul"
    with pytest.raises(ValueError, match="onednn.matmul"):
        cost.count(proto)


def test_the_most_expensive_branch_of_a_conditional_counts():
    def function(x):
        return tf.cond(x[0, 0] > 0, lambda: x @ x @ x, lambda: x @ x)

    counts = cost.count(compiled(function, [4, 4]))
    assert counts["products"] == 2
    # Three matrices per product; the condition reads one and writes a bool.
    assert counts["bytes_accessed"] == 2 * (3 * 4 * 16) + 4 * 16 + 1


# --- The report -------------------------------------------------------------


@pytest.mark.parametrize("method", COMPARED)
def test_step_of_a_small_network_in_closed_form(method):
    tf.keras.utils.set_random_seed(0)
    row = cost.of_method(method, networks.convolutional(), 8)
    # Two 3x3 convolutions of 6x6 images, then a dense layer of 4 by 3. In each
    # dimension 16 of the 18 pairs of an output and a tap lie inside the image.
    first, second, last = (
        2 * 8 * 16**2 * 1 * 4,
        2 * 8 * 16**2 * 4 * 4,
        2 * 8 * 4 * 3,
    )
    forward = first + second + last
    # Training does not need the gradient with respect to the images.
    training = 3 * forward - first
    attacked = method != "baseline"
    assert row["product_operations"] == (
        2 * training + 2 * forward if attacked else training
    )
    assert row["operations"] > row["product_operations"]
    # Clean and adversarial images share the passes of the update.
    assert row["products"] == (8 + 6 if attacked else 8)
    chains = {"baseline": 6, "disadv": 12, "conadv": 6}
    assert row["longest_chain"] == chains[method]
    assert row["memory_bytes"] > row["argument_bytes"]


@pytest.mark.slow
def test_graph_report(tmp_path):
    result = run_tool("graph_report", tmp_path, *TINY, "--method=baseline")
    with open(tmp_path / "graph_report.csv", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    # Seven convolutions, two projections and the dense layer.
    assert row["products"] == str(3 * 10 - 1)
    assert row["longest_chain"] == str(2 * 8)
    assert row["batch_size"] == "2"
    assert "| baseline | 29 (1.000) | 16 (1.000) |" in result.stdout
    saved = json.loads((tmp_path / "graph_report.json").read_text())
    assert str(saved["steps"][0]["operations"]) == row["operations"]


def test_mobilenet_v2_returns_logits():
    network = models.network("mobilenet_v2", 32)
    assert network.output_shape == (None, 1000)
    assert network.layers[-1].activation is tf.keras.activations.linear


def test_unknown_networks_are_named():
    with pytest.raises(ValueError, match="received 'resnet50x4'"):
        models.network("resnet50x4", 32)
