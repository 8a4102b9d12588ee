"""The attack and the update of a step do not depend on each other."""

import functools

import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import models
from tests import networks
from tests.marks import slow
from tools.step import graph_walk
from tools.step.models import batch_specs


@functools.cache
def chain_of_step(staleness, num_steps=1):
    """Products on the longest path of a step; staleness=None: no attack."""
    model = models.build(
        models.step_for(staleness),
        networks.convolutional(),
        ca.PGD(0.1, num_steps=num_steps),
    )
    specs = batch_specs(model.network, 8)
    function = model.runner.as_function(specs)
    graph = function.get_concrete_function(*specs).graph
    return graph_walk.longest_chain(graph)


def graph_of(function):
    spec = tf.TensorSpec([2, 2], tf.float32)
    return tf.function(function).get_concrete_function(spec).graph


def conditional(x):
    # Only the second argument depends on a product.
    y, z = x, x @ x
    if tf.reduce_sum(x) > 0:
        return y @ y @ y @ y
    return z @ z


def late_condition(x):
    # A branch starts when its condition is known.
    return tf.cond(tf.reduce_sum(x @ x) > 0, lambda: x @ x @ x, lambda: x)


def switch(x):
    branches = [lambda: x, lambda: x @ x, lambda: x @ x @ x]
    return tf.switch_case(tf.cast(x[0, 0], tf.int32), branches)


def call(x):
    # One result of the call has a shorter path than the other.
    near, far = tf.function(lambda a, b: (a @ a, b @ b))(x, x @ x)
    return near @ near, far


def loop(x):
    return tf.while_loop(lambda y: y[0, 0] < 9, lambda y: [y @ y], [x])[0] @ x


def control_edge(x):
    y = x @ x
    with tf.control_dependencies([y @ y]):
        return tf.identity(x) @ x


def late_call(x):
    # An operation without inputs starts with the call.
    square = tf.function(lambda: tf.random.normal([2, 2]) @ tf.ones([2, 2]))
    with tf.control_dependencies([x @ x]):
        return square()


def side_effect(x):
    # The longest path ends in a side effect, not in a result.
    @tf.function
    def show(y):
        tf.print(y @ y @ y)

    show(x)
    return x


def unneeded(x):
    _ = x @ x @ x
    return x @ x


@pytest.mark.parametrize(
    "function, products, chain",
    [
        (conditional, 4, 3),
        (late_condition, 3, 3),
        (switch, 2, 2),
        (call, 4, 2),
        (loop, 2, 2),
        (control_edge, 3, 3),
        (late_call, 2, 2),
        (side_effect, 2, 2),
        (unneeded, 1, 1),
    ],
)
def test_products_and_chain_of_a_graph(function, products, chain):
    graph = graph_of(function)
    assert graph_walk.count_products(graph) == products
    assert graph_walk.longest_chain(graph) == chain


# Merged into the graph, each tensor and variable that it uses would cost three
# operations, and Grappler would take twice as long.
def test_the_update_is_one_operation_on_a_cpu():
    model = models.build("plain", networks.linear((6, 6, 1)))
    specs = batch_specs(model.network, 8)
    function = model.runner.as_function(specs, jit_compile=False)
    operations = function.get_concrete_function(*specs).graph.get_operations()
    (conditional,) = (each for each in operations if each.type == "If")
    assert not conditional.get_attr("_lower_using_switch_merge")


# One operation could not use variables of two devices.
def test_weights_and_optimizer_may_be_on_different_devices():
    with tf.device("/CPU:1"):
        model = ca.ConAdvModel(networks.linear(), None)
    model.compile("sgd", tf.keras.losses.MeanSquaredError())
    model.fit(tf.zeros([8, 2, 2, 1]), tf.zeros([8, networks.CLASSES]))
    assert "CPU:1" in model.network.trainable_variables[0].device
    assert "CPU:0" in model.optimizer.iterations.device


# The central claim of the paper: the attack does not delay the update.
@pytest.mark.parametrize("staleness", [1, slow(2), slow(3)])
def test_chain_of_conadv_is_that_of_plain_training(staleness):
    plain = chain_of_step(None)
    assert chain_of_step(staleness) == plain
    # DisAdv first runs the forward and backward pass of the attack, which have
    # as many products on their longest path as training.
    assert chain_of_step(0) == 2 * plain


@pytest.mark.slow
def test_attack_steps_do_not_lengthen_the_update():
    # The two attack steps depend on each other, but not on the update.
    plain = chain_of_step(None)
    assert chain_of_step(1, num_steps=2) == 2 * plain
    assert chain_of_step(0, num_steps=2) == 3 * plain
