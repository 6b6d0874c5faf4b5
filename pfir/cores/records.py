"""What is known of a processor core: its peaks, clock, caches, and what an instruction takes of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from pfir.instructions import Instructions

KIB = 1024
MIB = 1024 * KIB
GHZ = 1e9
GB = 1e9


@dataclass(frozen=True)
class Costs:
    """Cycles that an instruction of each class takes of a core, and a byte of its loads and stores.

    Args:
        multiply, half, dot, widening, vector, load, load_byte, store, store_byte, scalar, branch: As the classes of
            `Instructions`; at least 0.
    """

    multiply: float
    half: float
    dot: float
    widening: float
    vector: float
    load: float
    load_byte: float
    store: float
    store_byte: float
    scalar: float
    branch: float

    def cycles(self, of: Instructions) -> float:
        """What these instructions take."""
        return (
            self.multiply * of.multiply
            + self.half * of.half
            + self.dot * of.dot
            + self.widening * of.widening
            + self.vector * of.vector
            + self.load * of.load
            + self.load_byte * of.load_bytes
            + self.store * of.store
            + self.store_byte * of.store_bytes
            + self.scalar * of.scalar
            + self.branch * of.branch
        )


@dataclass(frozen=True)
class Issue:
    """What a core starts in a cycle, by its scheduling model.

    Args:
        multiplies: Multiply-adds and dot products of vectors of 128 bits; below 1 where one takes several cycles.
        vectors: Other instructions on them.
        widening: Products of integers that are twice as wide.
        width: Instructions of any class.
        load_bytes, store_bytes: Bytes that vectors are loaded from the first cache, and stored to it.
    """

    multiplies: float
    vectors: float
    widening: float
    width: float
    load_bytes: float
    store_bytes: float

    @property
    def costs(self) -> Costs:
        """What each instruction takes if nothing runs beside it and it waits for nothing."""
        multiply, slot = 1 / self.multiplies, 1 / self.width
        return Costs(
            multiply=multiply,
            half=multiply,
            dot=multiply,
            widening=1 / self.widening,
            vector=1 / self.vectors,
            load=slot,
            load_byte=1 / self.load_bytes,
            store=slot,
            store_byte=1 / self.store_bytes,
            scalar=slot,
            branch=slot,
        )


@dataclass(frozen=True)
class Errors:
    """By how much an estimate of a whole net errs on average, relative to what boards take.

    Args:
        float32, float16, int8: By arithmetic; 0.2 is 20 %.
        elsewhere: On another board with such a core, of which only the clock is known.
        measured: The arithmetics that this core's boards tell, each net by what the others cost. The rest are the error
            of core types of which no board was seen.
    """

    float32: float
    float16: float
    int8: float
    elsewhere: float
    measured: tuple[str, ...] = ()

    def of(self, arithmetic: str) -> float:
        """The error in the arithmetic of this name."""
        return float(getattr(self, arithmetic))

    @property
    def of_another_board(self) -> Errors:
        """Those of a board that the costs were not fitted to."""
        single, half, whole = (max(error, self.elsewhere) for error in (self.float32, self.float16, self.int8))
        return Errors(single, half, whole, self.elsewhere)


# Where nothing was fitted: what costs by the peak alone err by on a core, against 326 published figures.
UNFITTED = Errors(0.48, 0.48, 0.48, 0.48)


@dataclass(frozen=True)
class Core:
    """One kind of processor core.

    Args:
        name: LLVM's name for it (`mcpu`).
        macs_per_cycle: Peak float32 multiply-accumulates a cycle.
        clock_hz: Clock assumed.
        bandwidth: Bytes a second that one core streams from memory.
        vector_bytes: Width of a vector register.
        vector_registers: How many of them there are.
        l1_bytes, l2_bytes: Data caches that one core sees.
        l3_bytes: What one core may count on of a cache behind them; 0 if there is none, or it is not known.
        source: Where these numbers come from.
        shared_bandwidth: Bytes a second that all cores together move between kernels, through the last cache that they
            share or memory.
        board: What it stands for: the board that its costs were fitted to, or a machine of its clock.
        fitted: What instructions take of it, fitted to that board and others of the kind.
        errors: Of estimates.
    """

    name: str
    macs_per_cycle: float
    clock_hz: float
    bandwidth: float
    vector_bytes: int
    vector_registers: int
    l1_bytes: int
    l2_bytes: int
    source: str
    shared_bandwidth: float = 20 * GB
    board: str = ""
    l3_bytes: int = 0
    # Not hashed: targets are keys of caches, and the name tells cores apart.
    fitted: Costs | None = field(default=None, hash=False)
    errors: Errors = field(default=UNFITTED, hash=False)

    @property
    def kept_bytes(self) -> int:
        """What stays in its caches from one inference to the next."""
        return max(self.l2_bytes, self.l3_bytes)

    @property
    def costs(self) -> Costs:
        """What instructions take of it; without a fit by its peak alone."""
        if self.fitted is not None:
            return self.fitted
        each = 4 / self.macs_per_cycle
        return Costs(*(each,) * 5, each, each / 32, each, each / 32, each / 2, each / 2)
