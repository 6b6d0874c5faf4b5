"""Sums of instructions while a kernel is being counted: plain numbers, since a search counts thousands of kernels."""

from __future__ import annotations

from typing import NamedTuple

from pfir.backends.tvm.schedule.tiles import by_lane, scheduled_ahead
from pfir.cores import Costs
from pfir.instructions import Instructions
from pfir.target import SINGLE, Target

PAIR_BYTES = 1008
"""How far from an address the offset of a load or store of two registers reaches; that of a single one, 65,520."""
FAR_BYTES = 65520


class Sum:
    """Instructions of each class; `half` tells whether multiply-adds are of float16."""

    __slots__ = ("branch", "load", "load_bytes", "multiply", "scalar", "store", "store_bytes", "vector")

    def __init__(self) -> None:
        self.multiply = self.vector = self.load = self.load_bytes = 0.0
        self.store = self.store_bytes = self.scalar = self.branch = 0.0

    def compute(self, times: float, multiply: float, vector: float) -> None:
        """Add what so many rounds compute, instructions a round."""
        self.multiply += times * multiply
        self.vector += times * vector

    def read(self, times: float, load: float, load_bytes: float) -> None:
        """Add what so many rounds load, instructions and bytes a round."""
        self.load += times * load
        self.load_bytes += times * load_bytes

    def write(self, times: float, store: float, store_bytes: float) -> None:
        """Add what so many rounds store, instructions and bytes a round."""
        self.store += times * store
        self.store_bytes += times * store_bytes

    def steer(self, times: float, scalar: float, branch: float) -> None:
        """Add addresses, counters and branches of so many rounds, instructions a round."""
        self.scalar += times * scalar
        self.branch += times * branch

    def call(self, loads: float, stores: float, scalar: float, branches: float) -> None:
        """Add what a call takes beside its loops: it loads and stores registers of eight bytes."""
        self.read(1, loads, 8 * loads)
        self.write(1, stores, 8 * stores)
        self.steer(1, scalar, branches)

    def add(self, other: Sum | Instructions, times: float = 1.0) -> None:
        """Add another sum, or instructions none of which are of float16 or integers, so many times."""
        self.multiply += times * other.multiply
        self.vector += times * other.vector
        self.load += times * other.load
        self.load_bytes += times * other.load_bytes
        self.store += times * other.store
        self.store_bytes += times * other.store_bytes
        self.scalar += times * other.scalar
        self.branch += times * other.branch

    def cycles(self, costs: Costs, half: bool) -> float:
        """What they take of a core, multiply-adds as those of float16 if `half` says so."""
        return (
            self.multiply * (costs.half if half else costs.multiply)
            + self.vector * costs.vector
            + self.load * costs.load
            + self.load_bytes * costs.load_byte
            + self.store * costs.store
            + self.store_bytes * costs.store_byte
            + self.scalar * costs.scalar
            + self.branch * costs.branch
        )

    def instructions(self, half: bool) -> Instructions:
        """The record of them, multiply-adds as those of float16 if `half` says so."""
        multiply, halves = (0.0, self.multiply) if half else (self.multiply, 0.0)
        return Instructions(
            multiply,
            halves,
            0.0,
            0.0,
            self.vector,
            self.load,
            self.load_bytes,
            self.store,
            self.store_bytes,
            self.scalar,
            self.branch,
        )


class Registers(NamedTuple):
    """What counts depend on of a target, short to hash.

    Args:
        lanes: Values of a whole vector.
        value_bytes: Of one value.
        by_lane: Whether a value multiplies a vector from a lane of a register, as on Arm.
        held: Vector registers.
        fenced: Whether barriers stand in short loops, as on 64-bit Arm; each is an instruction.
        rate: Multiply-adds of whole vectors that start in a cycle.
        ahead: Whether LLVM schedules for a single core in order, and writes rounds of loops out for it.
    """

    lanes: int
    value_bytes: int
    by_lane: bool
    held: int
    fenced: bool
    rate: float
    ahead: bool

    def share(self, lanes: int) -> float:
        """What an instruction of so many lanes takes of a whole one: on Arm as much, on x86 no less than half."""
        return 1.0 if self.by_lane else max(lanes / self.lanes, 0.5)


def registers_of(target: Target) -> Registers:
    """Those of a target."""
    core, value_bytes = target.core, target.value_bytes
    lanes = core.vector_bytes // value_bytes
    rate, ahead = target.macs_per_cycle / lanes, scheduled_ahead(target)
    return Registers(lanes, value_bytes, by_lane(target), core.vector_registers, target.arm64, rate, ahead)


def is_half(target: Target) -> bool:
    """Whether its multiply-adds are of float16."""
    return target.arithmetic.data != SINGLE


def narrowed(lanes: int, values: int, fewest: int) -> int:
    """The fewest of at most so many lanes, a power of two no less than `fewest`, that hold the values."""
    return min(lanes, max(fewest, 1 << (values - 1).bit_length()))


def along(values: int, lanes: int, fewest: int) -> list[tuple[int, int]]:
    """Lanes and number of the vectors that cover so many values as `written.along` does: whole ones, then one as narrow
    as the rest allows."""
    lanes = min(lanes, 1 << (values.bit_length() - 1))
    whole, rest = divmod(values, lanes)
    return [(lanes, whole)] + ([(narrowed(lanes, rest, fewest), 1)] if rest else [])
