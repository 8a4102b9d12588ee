"""Reads the TPU compiler's own estimates out of an optimized HLO module.

The compiler writes `estimated_cycles` beside each fusion, copy and so on that
a core runs. They are estimates of one core's cycles, not measurements.
"""

import collections
import dataclasses
import re

_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (.+?) ([a-z][\w\-]*)\(")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_OP_NAME = re.compile(r'op_name="([^"]*)"')
# A list in braces, or a single name.
_CALLS = re.compile(
    r"(calls|to_apply|body|condition|branch_computations|true_computation|"
    r"false_computation)=(?:\{([^}]*)\}|(%?[\w.\-]+))"
)
_TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_MOVES = {"concatenate", "slice", "pad", "dynamic-update-slice"}


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction of a module."""

    name: str
    shape: str  # Of the result, with layout, as the compiler prints it.
    opcode: str  # "fusion", "copy", "convolution", ...
    op_name: str  # Of the TensorFlow operation it came from; "" if unknown.
    cycles: int  # The compiler's estimate, 0 where it makes none.
    calls: tuple[tuple[str, str], ...]  # (attribute, name of a computation).
    trip_count: int  # Of a while loop, 1 where the compiler does not know it.


@dataclasses.dataclass(frozen=True)
class Cost:
    """Cycles of one instruction that a core runs."""

    instruction: Instruction
    cycles: int  # Its estimate times the trips of the loops around it.
    kind: str  # What it does; see `kind_of`.
    part: str  # Of the step: "attack", "update" or "other".


def parse(text):
    """The computations of a module, as the compiler prints it.

    Returns:
      (name of the entry computation, dict of name to list of `Instruction`).

    Raises:
      ValueError: if the text has no entry computation.
    """
    computations, entry, current = {}, None, None
    for line in text.splitlines():
        start = _COMPUTATION.match(line)
        found = _INSTRUCTION.match(line)
        if start:
            current = computations.setdefault(start[2], [])
            entry = start[2] if start[1] else entry
        elif found and current is not None:
            current.append(_instruction(found, line[found.end() :]))
    if entry is None:
        raise ValueError(
            "Expected the text of an HLO module with an ENTRY computation; "
            f"received {text[:80]!r}."
        )
    return entry, computations


def _instruction(found, rest):
    def first(pattern, default):
        match = pattern.search(rest)
        return match[1] if match else default

    return Instruction(
        *found.groups(),
        op_name=first(_OP_NAME, ""),
        cycles=int(first(_CYCLES, 0)),
        calls=tuple(
            (attribute, name.strip().lstrip("%"))
            for attribute, many, one in _CALLS.findall(rest)
            for name in (many or one).split(",")
        ),
        trip_count=int(first(_TRIP_COUNT, 1)),
    )


def costs(text):
    """What one run of a module costs, instruction by instruction.

    Of a conditional only the dearest branch counts, as one run takes one
    branch. The body of a fusion is part of the fusion.

    Returns:
      List of `Cost`, the dearest first; empty if there are no estimates.

    Raises:
      ValueError: if the text is no module.
    """
    entry, computations = parse(text)
    return sorted(_run(entry, computations, 1), key=lambda cost: -cost.cycles)


def _run(name, computations, times):
    found = []
    for instruction in computations.get(name, ()):
        if instruction.cycles:
            cycles = instruction.cycles * times
            kind = kind_of(instruction, computations)
            part = part_of(instruction.op_name)
            found.append(Cost(instruction, cycles, kind, part))
        called = [name for _, name in instruction.calls]
        if instruction.opcode == "conditional":
            branches = [_run(name, computations, times) for name in called]
            found += max(branches, key=total, default=[])
        elif instruction.opcode in ("while", "call"):
            trips = times * instruction.trip_count
            for each in called:
                found += _run(each, computations, trips)
    return found


def total(found):
    """Sum of the cycles of a list of `Cost`."""
    return sum(cost.cycles for cost in found)


def kind_of(instruction, computations):
    """What an instruction does, by the operations fused into it.

    Returns:
      "convolution", "reduction", "split/concat" or "elementwise" of a fusion,
      with " + split/concat" after the first two where data are also cut or
      joined. The opcode of anything else.
    """
    if instruction.opcode != "fusion":
        return instruction.opcode
    inside = _opcodes(instruction, computations)
    moves = bool(inside & _MOVES)
    if inside & {"convolution", "dot"}:
        kind = "convolution"
    elif inside & {"reduce", "reduce-window"}:
        kind = "reduction"
    else:
        return "split/concat" if moves else "elementwise"
    return f"{kind} + split/concat" if moves else kind


def _opcodes(instruction, computations):
    """Opcodes in a fusion, and in the fusions in it."""
    found = set()
    for attribute, name in instruction.calls:
        if attribute == "calls":
            for inner in computations.get(name, ()):
                found |= {inner.opcode} | _opcodes(inner, computations)
    return found


def part_of(op_name):
    """The part of the step a TensorFlow operation belongs to, by its name.

    A fusion has the name of one of the operations in it, so a fusion across
    parts counts for one of them.
    """
    if not op_name:
        return "other"
    return "attack" if "attack/" in op_name else "update"


def by(found, attribute):
    """Cycles summed over costs with equal "kind" or "part", most first."""
    sums = collections.Counter()
    for cost in found:
        sums[getattr(cost, attribute)] += cost.cycles
    return dict(sums.most_common())
