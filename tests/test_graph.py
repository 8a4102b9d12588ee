"""The attack and the update are independent in the graph of a step."""

import pytest
import tensorflow as tf

import conadv_tf as ca
from tests import networks

_PRODUCTS = ("Conv2D", "MatMul", "DepthwiseConv2dNative", "Einsum")


def _is_product(operation):
    # Conv2DBackpropInput and Conv2DBackpropFilter too.
    return operation.type.startswith(_PRODUCTS)


def longest_chain(graph):
    """Most convolutions and matrix products on any path of a graph.

    Paths follow data and control edges. A function that an operation calls
    (a branch of a conditional, say) counts as its own longest chain.
    """
    bodies = {}

    def body(name):
        if name not in bodies:
            function = graph._get_function(name)
            bodies[name] = longest_chain(function.graph)
        return bodies[name]

    chain = {}
    for operation in graph.get_operations():  # In topological order.
        before = [tensor.op for tensor in operation.inputs]
        before += operation.control_inputs
        own = int(_is_product(operation))
        own += max(
            (
                body(operation.get_attr(attribute.name).name)
                for attribute in operation.op_def.attr
                if attribute.type == "func"
            ),
            default=0,
        )
        chain[operation.name] = own + max(
            (chain.get(each.name, 0) for each in before), default=0
        )
    return max(chain.values())


def step_graph(staleness, attack=None):
    model = ca.ConAdvModel(
        networks.convolutional(),
        None if staleness is None else attack or ca.PGD(0.1),
        staleness or 0,
    )
    model.compile(ca.LARS(0.1), networks.LOSS)
    specs = (
        tf.TensorSpec([8, 6, 6, 1], tf.float32),
        tf.TensorSpec([8], tf.int64),
    )
    if model.is_concurrent:
        model._select_pending(specs)
    model.optimizer.build(model.trainable_variables)
    step = tf.function(lambda *data: model.train_step(data))
    return step.get_concrete_function(*specs).graph


def test_walker_sees_functions_and_control_edges():
    @tf.function
    def chained(x):
        y = tf.cond(tf.reduce_sum(x) > 0, lambda: x @ x @ x, lambda: x @ x)
        return y @ x

    spec = tf.TensorSpec([2, 2], tf.float32)
    graph = chained.get_concrete_function(spec).graph
    assert longest_chain(graph) == 3


# The heart of the paper: an update is not delayed by the attack beside it.
@pytest.mark.parametrize("staleness", [1, 2, 3])
def test_conadv_is_as_long_as_plain_training(staleness):
    plain = longest_chain(step_graph(None))
    assert longest_chain(step_graph(staleness)) == plain
    # Forward and backward through the attack come first in DisAdv: as many
    # products as training has on its longest path.
    assert longest_chain(step_graph(0)) == 2 * plain


def test_attack_steps_do_not_lengthen_the_update():
    # Two steps are two passes; they follow one another but not the update.
    plain = longest_chain(step_graph(None))
    two = step_graph(1, ca.PGD(0.1, num_steps=2))
    assert longest_chain(two) == 2 * plain
    assert longest_chain(step_graph(0, ca.PGD(0.1, num_steps=2))) == 3 * plain
