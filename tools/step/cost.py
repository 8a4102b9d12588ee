"""Counts operations, bytes and memory of the compiled training step.

XLA:CPU reports the module that it has optimized and the buffers that it has
assigned. Operations are counted as in XLA's HloCostAnalysis, which TensorFlow
does not expose to Python: a multiplication and an addition in a product are two
operations, padding is not counted, and any other arithmetic instruction is one
operation per element of its result. An instruction, or a fusion as a whole,
reads its operands once and writes its result once. The most expensive branch of
a conditional counts, and the body of a loop counts once.

The counts depend on shapes alone: they are the same on every machine with the
same TensorFlow version.
"""

import collections
import math
import re

import numpy as np

from conadv_tf import xla_internals
from conadv_tf.steps import temporary_bytes
from experiments import markdown_table
from tools.step import graph_walk
from tools.step import models

_TYPES = xla_internals.xla_types()
# Key of a row, heading, unit.
_COLUMNS = (
    ("products", "products", 1),
    ("longest_chain", "chain", 1),
    ("operations", "operations (G)", 1e9),
    ("product_operations", "of them in products (G)", 1e9),
    ("bytes_accessed", "accessed (MB)", 1e6),
    ("argument_bytes", "arguments (MB)", 1e6),
    ("memory_bytes", "memory (MB)", 1e6),
)
_PRODUCTS = ("convolution", "dot")
# Instructions of one operation per element of the result.
_ELEMENTWISE = frozenset(
    "abs add and atan2 cbrt ceil clamp compare convert cosine count-leading-"
    "zeros divide erf exponential exponential-minus-one floor is-finite log "
    "log-plus-one logistic maximum minimum multiply negate not or popcnt power "
    "remainder round-nearest-afz round-nearest-even rsqrt select shift-left "
    "shift-right-arithmetic shift-right-logical sign sine sqrt subtract tan "
    "tanh xor".split()
)
# Instructions whose called computations read and write in their place.
_CONTROL = frozenset(("call", "conditional", "while"))
# Instructions that only name a value: nothing is read or written.
_FREE = frozenset(
    "after-all bitcast constant get-tuple-element parameter tuple".split()
)


def of_method(method, network, batch_size):
    """Counts one training step.

    Args:
      method: a key of `models.METHODS`.
      network: functional Keras model from images to logits.
      batch_size: number of images per replica.

    Returns:
      Dict with the method and an int for each key of `_COLUMNS`.
    """
    specs = models.batch_specs(network, batch_size)
    step = models.of_method(method, network).runner.as_function(specs)
    graph = step.get_concrete_function(*specs).graph
    module = xla_internals.optimized_hlo(step, *specs)
    counts, arguments = count(module), argument_bytes(module)
    return {
        "method": method,
        "products": graph_walk.count_products(graph),
        "longest_chain": graph_walk.longest_chain(graph),
        "operations": _operations(counts),
        "product_operations": counts["product_operations"],
        "bytes_accessed": counts["bytes_accessed"],
        "argument_bytes": arguments,
        # Arguments occupy memory throughout, the rest of it is reused.
        "memory_bytes": arguments + temporary_bytes(module),
    }


def table(rows):
    """Formats rows as Markdown, in brackets each value over the first row's."""

    def cell(row, key, unit):
        value = f"{row[key]:d}" if unit == 1 else f"{row[key] / unit:,.3f}"
        return f"{value} ({row[key] / rows[0][key]:.3f})"

    return markdown_table.table(
        ["method", *(heading for _, heading, _ in _COLUMNS)],
        (
            [
                row["method"],
                *(cell(row, key, unit) for key, _, unit in _COLUMNS),
            ]
            for row in rows
        ),
    )


def argument_bytes(module):
    """Bytes of weights, optimizer slots, other variables and the batch."""
    return sum(
        allocation.size
        for allocation in module.buffer_assignment.buffer_allocations
        if allocation.is_entry_computation_parameter
    )


def count(module):
    """Counts one run of a module.

    Args:
      module: result of `xla_internals.optimized_hlo`.

    Returns:
      `collections.Counter` with the keys
        "products": convolutions and matrix products,
        "product_operations": multiplications and additions in them,
        "other_operations": all other arithmetic operations,
        "bytes_accessed": bytes read and written by instructions and fusions.
    """
    computations = {each.id: each for each in module.hlo_module.computations}
    entry = module.hlo_module.entry_computation_id
    return _count(computations, entry, is_fused=False)


def _count(computations, key, is_fused):
    instructions = computations[key].instructions
    shapes = {each.id: each.shape for each in instructions}
    total = collections.Counter()
    for instruction in instructions:
        opcode = instruction.opcode
        operands = [shapes[each] for each in instruction.operand_ids]
        inner = [
            _count(computations, called, is_fused or opcode not in _CONTROL)
            for called in instruction.called_computation_ids
        ]
        if opcode == "conditional":
            total += max(inner, key=_operations)
        elif opcode == "fusion" or opcode in _CONTROL:
            total += sum(inner, collections.Counter())
        elif opcode in _PRODUCTS:
            total["products"] += 1
            total["product_operations"] += 2 * _terms(instruction, *operands)
        else:
            # A reduction calls its reducer for each step.
            step = sum(map(_operations, inner))
            total["other_operations"] += _others(instruction, operands, step)
        if not is_fused and opcode not in _FREE | _CONTROL:
            accessed = map(_num_bytes, [*operands, instruction.shape])
            total["bytes_accessed"] += sum(accessed)
    return total


def _operations(counts):
    return counts["product_operations"] + counts["other_operations"]


def _terms(instruction, left, right):
    """Multiplications in a convolution or a matrix product."""
    if instruction.opcode == "dot":
        numbers = instruction.dot_dimension_numbers
        contracting = numbers.lhs_contracting_dimensions
        terms = math.prod(left.dimensions[each] for each in contracting)
        return terms * _num_elements(instruction.shape)
    numbers = instruction.convolution_dimension_numbers
    positions = math.prod(
        _valid_positions(left.dimensions[i], instruction.shape.dimensions[o], w)
        for i, o, w in zip(
            numbers.input_spatial_dimensions,
            numbers.output_spatial_dimensions,
            instruction.window.dimensions,
        )
    )
    return (
        positions
        * left.dimensions[numbers.input_batch_dimension]
        # The input channels of the kernel belong to one feature group.
        * right.dimensions[numbers.kernel_input_feature_dimension]
        * right.dimensions[numbers.kernel_output_feature_dimension]
    )


def _valid_positions(size, outputs, window):
    """Pairs (output, tap) in one dimension that meet no padding or hole."""
    dilated = (size - 1) * window.base_dilation + 1
    starts = window.stride * np.arange(outputs) - window.padding_low
    taps = window.window_dilation * np.arange(window.size)
    at = starts[:, np.newaxis] + taps
    inside = (at >= 0) & (at < dilated) & (at % window.base_dilation == 0)
    return int(inside.sum())


def _others(instruction, operands, step):
    """Operations of an instruction whose reducer, if any, takes `step`."""
    opcode = instruction.opcode
    if opcode == "custom-call":
        raise ValueError(
            "Expected a module that consists of XLA's own instructions; "
            f"received a call of {instruction.custom_call_target!r}, whose "
            "operations are unknown. Unset XLA_FLAGS and TF_XLA_FLAGS."
        )
    if opcode in _ELEMENTWISE:
        return _num_elements(instruction.shape)
    if opcode == "reduce":
        steps = _num_elements(operands[0]) - _num_elements(instruction.shape)
        return steps * step
    if opcode == "reduce-window":
        window = math.prod(each.size for each in instruction.window.dimensions)
        return _num_elements(instruction.shape) * (window - 1) * step
    return 0


def _num_elements(shape):
    # The results of a reduction of several arrays have equal shapes.
    if shape.element_type == _TYPES.TUPLE:
        shape = shape.tuple_shapes[0]
    return math.prod(shape.dimensions)


def _num_bytes(shape):
    if shape.element_type == _TYPES.TUPLE:
        return sum(map(_num_bytes, shape.tuple_shapes))
    name = _TYPES.PrimitiveType.Name(shape.element_type)
    bits = re.search(r"\d+", name)  # F32, S64, BF16, ...
    size = int(bits[0]) // 8 if bits else int(name == "PRED")
    return size * math.prod(shape.dimensions)
