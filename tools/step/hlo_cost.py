"""Operations, bytes and memory of a compiled step, from XLA's own output.

XLA:CPU hands out the module it has optimized and the buffers it has assigned.
Operations are counted as XLA's HloCostAnalysis does, which TensorFlow does not
offer to Python: a multiplication and an addition in a product are two
operations, padding is not counted, and any other arithmetic instruction is one
operation for each element of its result. An instruction, or a fusion as a
whole, reads its operands and writes its result once. Of a conditional the
dearer branch counts, and the body of a loop counts once.

Only shapes go in: the figures are the same on every machine with the same
TensorFlow.
"""

import dataclasses
import math
import re

import numpy as np

from conadv_tf import xla_internals

_TYPES = xla_internals.xla_types()

# One operation for each element of the result.
_ELEMENTWISE = frozenset(
    "abs add and atan2 cbrt ceil clamp compare convert cosine count-leading-"
    "zeros divide erf exponential exponential-minus-one floor is-finite log "
    "log-plus-one logistic maximum minimum multiply negate not or popcnt power "
    "remainder round-nearest-afz round-nearest-even rsqrt select shift-left "
    "shift-right-arithmetic shift-right-logical sign sine sqrt subtract tan "
    "tanh xor".split()
)
# What they read and write is that of the instructions in them.
_CONTROL = frozenset(("call", "conditional", "while"))
# Names for a value; nothing is read or written.
_FREE = frozenset(
    "after-all bitcast constant get-tuple-element parameter tuple".split()
)


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one run of a compiled function costs."""

    products: int = 0  # Convolutions and matrix products.
    product_operations: int = 0  # Multiplications and additions in them.
    other_operations: int = 0  # Arithmetic operations in all else.
    bytes_accessed: int = 0  # Read and written by instructions and fusions.

    @property
    def operations(self):
        """All arithmetic operations."""
        return self.product_operations + self.other_operations

    def __add__(self, other):
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other))
        return Cost(*(mine + its for mine, its in pairs))


def cost(module):
    """The `Cost` of one run of an `xla_internals.optimized_hlo`."""
    computations = {each.id: each for each in module.hlo_module.computations}
    entry = module.hlo_module.entry_computation_id
    return _computation_cost(computations, entry, is_fused=False)


def argument_bytes(module):
    """Bytes of weights, optimizer slots, other variables and the batch."""
    return sum(
        allocation.size
        for allocation in module.buffer_assignment.buffer_allocations
        if allocation.is_entry_computation_parameter
    )


def _computation_cost(computations, key, is_fused):
    instructions = computations[key].instructions
    by_id = {each.id: each for each in instructions}
    total = Cost()
    for instruction in instructions:
        operands = [by_id[each].shape for each in instruction.operand_ids]
        called = instruction.called_computation_ids
        opcode = instruction.opcode
        fused = is_fused or opcode not in _CONTROL
        inner = [_computation_cost(computations, c, fused) for c in called]
        if opcode == "conditional":
            total += max(inner, key=lambda each: each.operations)
        elif opcode == "fusion" or opcode in _CONTROL:
            total += sum(inner, Cost())
        else:  # A reduction calls its reducer in each step.
            step = sum(each.operations for each in inner)
            total += _instruction_cost(instruction, operands, step)
        if not is_fused and opcode not in _FREE | _CONTROL:
            shapes = [*operands, instruction.shape]
            total += Cost(bytes_accessed=sum(map(_num_bytes, shapes)))
    return total


def _instruction_cost(instruction, operands, step):
    # A step of a reduction takes `step` operations.
    opcode = instruction.opcode
    if opcode == "convolution":
        operations = _convolution_operations(instruction, *operands)
        return Cost(products=1, product_operations=operations)
    if opcode == "dot":
        numbers = instruction.dot_dimension_numbers
        terms = math.prod(
            operands[0].dimensions[dimension]
            for dimension in numbers.lhs_contracting_dimensions
        )
        operations = 2 * terms * _num_elements(instruction.shape)
        return Cost(products=1, product_operations=operations)
    if opcode == "custom-call":
        raise ValueError(
            "Expected a module of XLA's own instructions; received a call of "
            f"{instruction.custom_call_target!r}, whose operations are "
            "unknown. Unset XLA_FLAGS and TF_XLA_FLAGS."
        )
    if opcode in _ELEMENTWISE:
        return Cost(other_operations=_num_elements(instruction.shape))
    if opcode == "reduce":
        steps = _num_elements(operands[0]) - _num_elements(instruction.shape)
        return Cost(other_operations=steps * step)
    if opcode == "reduce-window":
        window = math.prod(each.size for each in instruction.window.dimensions)
        steps = _num_elements(instruction.shape) * (window - 1)
        return Cost(other_operations=steps * step)
    return Cost()


def _convolution_operations(instruction, lhs, rhs):
    numbers = instruction.convolution_dimension_numbers
    positions = math.prod(
        _valid_positions(lhs.dimensions[i], instruction.shape.dimensions[o], w)
        for i, o, w in zip(
            numbers.input_spatial_dimensions,
            numbers.output_spatial_dimensions,
            instruction.window.dimensions,
        )
    )
    return (
        2
        * positions
        * lhs.dimensions[numbers.input_batch_dimension]
        # The kernel's inputs are those of one feature group.
        * rhs.dimensions[numbers.kernel_input_feature_dimension]
        * rhs.dimensions[numbers.kernel_output_feature_dimension]
    )


def _valid_positions(size, outputs, window):
    """(output, kernel) pairs of one dimension that meet no padding or hole."""
    dilated = (size - 1) * window.base_dilation + 1
    starts = window.stride * np.arange(outputs) - window.padding_low
    taps = window.window_dilation * np.arange(window.size)
    at = starts[:, np.newaxis] + taps
    inside = (at >= 0) & (at < dilated) & (at % window.base_dilation == 0)
    return int(inside.sum())


def _num_elements(shape):
    # Of several results of one reduction the first stands for all.
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
