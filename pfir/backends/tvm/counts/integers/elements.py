"""Instructions of element-wise chains over integers of eight bits: by tables, integers, and floats in registers."""

from __future__ import annotations

from math import prod

from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.kernels.integers.others.tables import ENTRIES
from pfir.backends.tvm.schedule.tiles import by_lane
from pfir.cores import VNNI_CORES
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

TABLE, ADDITION, FLOATS = "table", "addition", "floats"
_SUMS = ("Add", "Sum")
_ADDITIONS = (("Add",), ("Add", "Relu"), ("Add", "Clip"))
_ENDS = ("QuantizeLinear", "DequantizeLinear")
_CALL = Instructions(scalar=20, branch=4)
_FEW_REGISTERS = 16
# Of a vector of bytes on Arm: two bytes of which each instruction makes one of 16 bits, and four of 32 bits.
_WIDENED, _VECTORS = 2, 4
# Of a vector of floats: zero point and conversion; bounds and rounding. Of a vector of bytes: narrowing.
_READ, _ROUNDED, _NARROWED = 2, 3, 2
THROUGH_FLOATS = 7.5
"""Vector instructions of four integers that become floats for what follows another kernel, and integers again."""


def wide_lanes(target: Target) -> int:
    """Values that are computed at once: a vector of bytes, or half of one where registers are few."""
    whole = target.core.vector_bytes
    return whole if target.core.vector_registers > _FEW_REGISTERS else whole // 2


def elements_int8(target: Target, workload: Workload, tail: Tail) -> Instructions:
    """The instructions of a chain, by the kernel that `kind_of` names."""
    kind, size = kind_of(target, workload, tail), prod(workload.out)
    if kind == TABLE:
        return _by_table(target, size, tail)
    return _addition(size, tail) if kind == ADDITION else _by_floats(target, size, tail)


def kind_of(target: Target, workload: Workload, tail: Tail) -> str:
    """The kernel that takes the fewest cycles: a sum by integers, a table, or floats."""
    size, operators = prod(workload.out), _between(tail)
    ends = tail.operators[-1:] == _ENDS[:1]
    if target.arm64 and ends and operators in _ADDITIONS and tail.reads == 1 and not tail.constants:
        return ADDITION
    if not ends or not operators or tail.reads or tail.constants or size < 2 * ENTRIES:
        return FLOATS
    costs = target.core.costs
    table, floats = _by_table(target, size, tail), _by_floats(target, size, tail)
    return TABLE if costs.cycles(table) < costs.cycles(floats) else FLOATS


def floats_to_bytes(target: Target, lanes: int, tail: Tail) -> Instructions:
    """The instructions that compute a tail on so many floats, round them and store them."""
    floats = max(1.0, 4 * lanes / target.core.vector_bytes)  # vectors
    computed = tail_of_vector(Tail(operators=_between(tail)), target.core.vector_bytes) * floats
    return computed + Instructions(vector=_ROUNDED * floats + _NARROWED, store=1, store_bytes=lanes)


def _between(tail: Tail) -> tuple[str, ...]:
    """The nodes but those that only tell what integers stand for."""
    return tuple(operator for operator in tail.operators if operator not in _ENDS)


def _by_table(target: Target, size: int, tail: Tail) -> Instructions:
    """The table, and a lookup of each value."""
    made = _by_floats(target, ENTRIES, tail)
    if target.arm64:
        # Four lookups in 64 bytes, and what brings the indices there.
        return made + Instructions(vector=7, load=1, load_bytes=16, store=1, store_bytes=16, scalar=2, branch=1) * (
            size / 16
        )
    if target.cpu in VNNI_CORES:
        return made + Instructions(vector=5, load=1, load_bytes=64, store=1, store_bytes=64, scalar=2, branch=1) * (
            size / 64
        )
    return made + Instructions(load=2, load_bytes=2, store=1, store_bytes=1, scalar=2, branch=1) * size


def _addition(size: int, tail: Tail) -> Instructions:
    """A sum of two tensors of 16 bytes: less zero, products, a shift that rounds, zero added, narrowing, a bound."""
    bounds = len(_between(tail)) - 1
    each = Instructions(
        widening=8, vector=4 + 4 + 2 + 2 + bounds, load=2, load_bytes=32, store=1, store_bytes=16, scalar=3, branch=1
    )
    return _CALL + each * (size / 16)


def _by_floats(target: Target, size: int, tail: Tail) -> Instructions:
    """A chain whose integers become floats in registers, and floats integers; a chain that only does one of both has
    floats on the other side."""
    lanes, operators = wide_lanes(target), _between(tail)
    floats, operands = lanes * 4 / target.core.vector_bytes, 1 + tail.reads
    widened = _WIDENED * lanes / target.core.vector_bytes + floats if by_lane(target) else floats
    read = Instructions(vector=widened + (_READ - by_lane(target)) * floats, load=1, load_bytes=lanes) * operands
    if not operators and tail.operators[-1:] == _ENDS[:1]:
        read = _moved(target, floats, "load")
    scaled = Instructions(vector=operands * floats)
    if operators[:1] and operators[0] in _SUMS:  # a product that is added to is one instruction with it
        scaled = Instructions(vector=(operands - 2) * floats, multiply=floats)
    written = floats_to_bytes(target, lanes, tail)
    if tail.operators[-1:] != _ENDS[:1]:
        computed = tail_of_vector(Tail(operators=operators), target.core.vector_bytes) * floats
        written = computed + _moved(target, floats, "store")
    return _CALL + (read + scaled + written + Instructions(scalar=3, branch=1)) * (size / lanes)


def _moved(target: Target, vectors: float, way: str) -> Instructions:
    """Loads or stores of vectors of floats side by side, on Arm two an instruction."""
    count = vectors / 2 if by_lane(target) else vectors
    return Instructions(**{way: count, f"{way}_bytes": vectors * target.core.vector_bytes})
