"""Counts convolutions and matrix products in a graph, and their chain.

Both are exact and the same on every machine. Only what a call of the graph
runs counts: what its results and side effects need. Functions that operations
call are walked into; of a conditional the longer branch counts.
"""

from conadv_tf import keras_internals

# Beginnings: Conv2DBackpropInput and Conv2DBackpropFilter too.
_PRODUCTS = (
    "BatchMatMul Conv2D Conv3D DepthwiseConv2dNative Einsum MatMul "
    "_FusedConv2D _FusedMatMul"
).split()


def count_products(graph):
    """Convolutions and matrix products that one call of a FuncGraph runs.

    Gradients of convolutions count like convolutions. Of a conditional the
    branch with more counts; the body of a loop counts once.
    """
    total = 0
    for operation in _needed(graph):
        counts = [count_products(body) for body in _bodies(operation)]
        total += _is_product(operation) + max(counts, default=0)
    return total


def longest_chain(graph):
    """Most convolutions and matrix products on any path of a FuncGraph.

    Paths follow data and control edges: nothing on one can begin before all
    that precedes it has ended, whatever the machine. The body of a loop
    counts once.
    """
    _, longest = _depths(graph, [0] * len(graph.inputs), 0)
    return longest


def _depths(graph, inputs, start):
    """Products on the longest path to each output, and on any path.

    `inputs` are those on the way to each input, `start` those before all else.
    """
    # Of tensors, and of operations as a whole for the control edges.
    depth = {tensor.name: d for tensor, d in zip(graph.inputs, inputs)}
    finished = {tensor.op.name: d for tensor, d in zip(graph.inputs, inputs)}
    for operation in _needed(graph):
        if operation.name in finished:
            continue
        waited = max(
            (finished[before.name] for before in operation.control_inputs),
            default=start,
        )
        arguments = [depth[tensor.name] for tensor in operation.inputs]
        own = max([waited, *arguments]) + _is_product(operation)
        results, finished[operation.name] = [own] * len(operation.outputs), own
        for body in _bodies(operation):
            # A conditional has its condition before the arguments of bodies;
            # it starts a branch when all that it waits for is there.
            is_branch = len(arguments) > len(body.inputs)
            begin = max(waited, arguments[0]) if is_branch else waited
            passed = arguments[len(arguments) - len(body.inputs) :]
            passed = [max(begin, each) for each in passed]
            outputs, longest = _depths(body, passed, begin)
            if len(outputs) != len(results):  # The condition of a loop.
                outputs = [longest] * len(results)
            results = [max(pair) for pair in zip(results, outputs)]
            finished[operation.name] = max(finished[operation.name], longest)
        for tensor, products in zip(operation.outputs, results):
            depth[tensor.name] = products
    return (
        [depth[tensor.name] for tensor in graph.outputs],
        max(finished.values(), default=start),
    )


def _is_product(operation):
    return operation.type.startswith(tuple(_PRODUCTS))


def _needed(graph):
    """Operations that outputs or side effects depend on, inputs first."""
    stack = [tensor.op for tensor in graph.outputs] + graph.control_outputs
    ordered, visited = {}, set()
    while stack:
        operation = stack[-1]
        if operation.name not in visited:
            visited.add(operation.name)
            before = [tensor.op for tensor in operation.inputs]
            before += operation.control_inputs
            stack += [each for each in before if each.name not in visited]
        else:
            ordered[stack.pop().name] = operation
    return list(ordered.values())


def _bodies(operation):
    """Graphs of the functions that an operation calls."""
    names = []
    for attribute in operation.op_def.attr:
        if attribute.type == "func":
            names.append(operation.get_attr(attribute.name).name)
        elif attribute.type == "list(func)":
            names += [each.name for each in operation.get_attr(attribute.name)]
    graph_of = keras_internals.function_graph
    return [graph_of(operation.graph, name) for name in names]
