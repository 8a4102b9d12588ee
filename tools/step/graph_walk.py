"""Counts the convolutions and matrix products in a graph, and their chain.

Both counts are exact and the same on every machine. An operation counts if a
result or a side effect of the graph depends on it: no other operation runs.
Functions that operations call are followed, and the longest branch of a
conditional counts.
"""

from conadv_tf import keras_internals

# Prefixes of types: Conv2DBackpropInput and Conv2DBackpropFilter count too.
_PRODUCTS = (
    "BatchMatMul Conv2D Conv3D DepthwiseConv2dNative Einsum MatMul "
    "_FusedConv2D _FusedMatMul"
).split()


def count_products(graph):
    """Counts the convolutions and matrix products in one call of a FuncGraph.

    Gradients of convolutions count like convolutions. The branch of a
    conditional with the most products counts; the body of a loop counts once.
    """
    total = 0
    for operation in _needed(graph):
        counts = [count_products(body) for body in _bodies(operation)]
        total += _is_product(operation) + max(counts, default=0)
    return total


def longest_chain(graph):
    """Counts the products on the longest path of a FuncGraph.

    Paths follow data and control edges: an operation cannot start before all
    operations that precede it on a path have finished, whatever the machine.
    The body of a loop counts once.
    """
    _, longest = _depths(graph, [0] * len(graph.inputs), 0)
    return longest


def _depths(graph, inputs, start):
    """Counts products on the longest path to each output, and on any path.

    Args:
      graph: FuncGraph.
      inputs: list of the products on the longest path to each input.
      start: products on the longest path to the call of the graph.

    Returns:
      (list of an int for each output, int).
    """
    # By tensor for the data edges, by operation for the control edges.
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
            # A conditional passes its condition before the arguments of its
            # branches, and a branch starts when the condition is known.
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
    """Lists operations that outputs or side effects need, inputs first."""
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
    """Lists the graphs of the functions that an operation calls."""
    names = []
    for attribute in operation.op_def.attr:
        if attribute.type == "func":
            names.append(operation.get_attr(attribute.name).name)
        elif attribute.type == "list(func)":
            names += [each.name for each in operation.get_attr(attribute.name)]
    graph_of = keras_internals.function_graph
    return [graph_of(operation.graph, name) for name in names]
