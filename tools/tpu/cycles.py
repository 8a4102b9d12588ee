"""Reads the TPU compiler's estimates from the text of an optimized HLO module.

The compiler writes "estimated_cycles" beside each fusion, copy and so on that a
core runs. They are estimates for one core, not measurements.
"""

import collections
import dataclasses
import re

_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (.+?) ([a-z][\w\-]*)\(")
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')
_OP_NAME = re.compile(r'op_name="([^"]*)"')
# The value is a list in braces or a single name.
_CALLS = re.compile(
    r"(calls|to_apply|body|condition|branch_computations|true_computation|"
    r"false_computation)=(?:\{([^}]*)\}|(%?[\w.\-]+))"
)
_TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_MOVES = {"concatenate", "slice", "pad", "dynamic-update-slice"}


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction of a module.

    Attributes:
      name: name in the module.
      shape: shape of the result with its layout, as the compiler prints it.
      opcode: "fusion", "copy", "convolution" and so on.
      op_name: name of the TensorFlow operation that it comes from, or "".
      cycles: the compiler's estimate; 0 if there is none.
      calls: pairs (attribute, name of a called computation).
      trip_count: iterations of a loop; 1 if the compiler does not know it.
    """

    name: str
    shape: str
    opcode: str
    op_name: str
    cycles: int
    calls: tuple[tuple[str, str], ...]
    trip_count: int


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Estimated cycles of one instruction that a core runs.

    Attributes:
      instruction: the `Instruction`.
      cycles: its estimate times the iterations of the loops around it.
      kind: kind of the work, from `kind_of`.
      part: part of the step: "attack", "update" or "other".
    """

    instruction: Instruction
    cycles: int
    kind: str
    part: str


def parse(text):
    """Parses the text of a module.

    Returns:
      (name of the entry computation, dict from the name of each computation to
      its list of `Instruction`).

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


def estimates(text):
    """Lists the estimates for one run of a module.

    A run takes one branch of a conditional, so only the most expensive branch
    counts. The body of a fusion is part of the fusion.

    Args:
      text: text of the optimized module.

    Returns:
      List of `Estimate`, the most expensive first; empty if the compiler made
      no estimates.

    Raises:
      ValueError: if the text is not a module.
    """
    entry, computations = parse(text)
    return sorted(_run(entry, computations, 1), key=lambda each: -each.cycles)


def _run(name, computations, times):
    found = []
    for instruction in computations.get(name, ()):
        if instruction.cycles:
            cycles = instruction.cycles * times
            kind = kind_of(instruction, computations)
            part = part_of(instruction.op_name)
            found.append(Estimate(instruction, cycles, kind, part))
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
    """Sums the cycles of a list of `Estimate`."""
    return sum(each.cycles for each in found)


def kind_of(instruction, computations):
    """Names the kind of work of an instruction by the operations fused into it.

    Returns:
      For a fusion "convolution", "reduction", "split/concat" or "elementwise";
      the first two are followed by " + split/concat" if the fusion also splits
      or concatenates. The opcode of any other instruction.
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
    """Returns the opcodes in a fusion and in the fusions inside it."""
    found = set()
    for attribute, name in instruction.calls:
        if attribute == "calls":
            for inner in computations.get(name, ()):
                found |= {inner.opcode} | _opcodes(inner, computations)
    return found


def part_of(op_name):
    """Names the part of the step that a TensorFlow operation belongs to.

    A fusion has the name of one of its operations, so a fusion across parts
    counts for one of them.
    """
    if not op_name:
        return "other"
    return "attack" if "attack/" in op_name else "update"


def cycles_by(found, attribute):
    """Sums cycles by "kind" or "part".

    Args:
      found: list of `Estimate`.
      attribute: "kind" or "part".

    Returns:
      Dict from each value of the attribute to its cycles, most first.
    """
    sums = collections.Counter()
    for each in found:
        sums[getattr(each, attribute)] += each.cycles
    return dict(sums.most_common())
