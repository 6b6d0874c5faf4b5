"""An integer convolution by pairs of products: how it is shared out, and which instructions a core has."""

from __future__ import annotations

from dataclasses import dataclass

from pfir.backends.tvm.schedule.blocks import STEPS, Block, first_tile
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.target import Target

SMULL, SMULL_4, VMULL = "smull", "smull.4", "vmull"
PMADDWD_128, PMADDWD_256, PMADDWD_512 = "pmaddwd.128", "pmaddwd.256", "pmaddwd.512"
_LOAD = 16  # bytes
_WHOLE = {16: PMADDWD_128, 32: PMADDWD_256, 64: PMADDWD_512}


@dataclass(frozen=True)
class PairVectors:
    """The vectors of sums that such instructions add to, each lane two products.

    Args:
        lanes: Of the vectors that there are, widest first.
        chained: Vectors of bytes whose products are added before neighbours are.
        mixed: Vectors of sums whose products LLVM may mix: of more it spills on 64-bit Arm.
    """

    lanes: tuple[int, ...]
    chained: int
    mixed: int = 4

    def lanes_of(self, width: int, together: int) -> int:
        """Lanes of the vectors that so many channels are summed in, of `together` inputs each: the widest that hold
        whole channels and no others."""
        return next(lanes for lanes in self.lanes if together <= 2 * lanes <= together * width)

    def takes(self, width: int, together: int) -> bool:
        """Whether there are such vectors."""
        return any(together <= 2 * lanes <= together * width for lanes in self.lanes)

    def pieces(self, together: int) -> int:
        """Loads of 16 bytes whose products are chained."""
        return max(1, self.chained * together // _LOAD)


PAIR_VECTORS = {
    SMULL: PairVectors((4,), 2),
    SMULL_4: PairVectors((4,), 4, 1),
    VMULL: PairVectors((4,), 2),
    PMADDWD_128: PairVectors((4,), 1),
    PMADDWD_256: PairVectors((8, 4), 1),
    PMADDWD_512: PairVectors((16, 8, 4), 1),
}
"""By the names that kernels' attributes give them."""


@dataclass(frozen=True)
class PairBlocks:
    """A convolution, or a product over flat positions, in blocks of channels.

    Args:
        blocks: As those of `DotBlocks`.
        dot: The instructions.
        together: Inputs of a channel side by side in a vector of weights, which has those of as many channels as fit.
        threads: Threads that share the kernel's outer loops.
    """

    blocks: tuple[Block, ...]
    dot: str
    together: int
    threads: int = 1

    @property
    def tile(self) -> MatrixTile:
        """The first block's, as other kernels know it."""
        return first_tile(self.blocks, STEPS, self.threads)

    def __str__(self) -> str:
        """All that decides the kernel but its threads, in words that a database keeps."""
        return f"{self.dot} by {self.together}, {', '.join(str(block) for block in self.blocks)}"


def pairs_of(target: Target) -> str | None:
    """The products of bytes in pairs that code for the target may use; None where there are none."""
    if target.triple.startswith("x86"):
        return _WHOLE[target.core.vector_bytes]
    if target.arm64:
        return SMULL
    return VMULL if target.triple.startswith("arm") else None
