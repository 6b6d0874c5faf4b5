"""An integer convolution by dot products of four bytes, or matrix products of eight: how it is shared out, and which
instructions a core has."""

from __future__ import annotations

from dataclasses import dataclass

from pfir.backends.tvm.schedule.blocks import STEPS, Block, first_tile
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.cores import DOT_CORES, I8MM_CORES, VNNI_CORES
from pfir.target import Target

SDOT, SMMLA, VPDPBUSD = "sdot", "smmla", "vpdpbusd"
DOT_VALUES, MATRIX_VALUES = 4, 8
"""Input values that a dot product or a matrix product multiplies for each position and channel."""


@dataclass(frozen=True)
class DotBlocks:
    """A convolution, or a product over flat positions, in blocks of channels.

    Args:
        blocks: Cover the output channels of a group in this order, without single channels; the very last vector may
            overlap the one before it, or be wider than all channels.
        dot: The instruction.
        threads: Threads that share the kernel's outer loops.
    """

    blocks: tuple[Block, ...]
    dot: str
    threads: int = 1

    @property
    def together(self) -> int:
        """Input values that one instruction multiplies for each position and channel."""
        return MATRIX_VALUES if self.dot == SMMLA else DOT_VALUES

    @property
    def tile(self) -> MatrixTile:
        """The first block's, as other kernels know it."""
        return first_tile(self.blocks, STEPS, self.threads)

    def __str__(self) -> str:
        """All that decides the kernel but its threads, in words that a database keeps."""
        return f"{self.dot} {', '.join(str(block) for block in self.blocks)}"


def dot_of(target: Target) -> str | None:
    """The dot product of bytes that code for the target may use; None where there is none."""
    if target.arm64 and target.cpu in DOT_CORES:
        return SDOT
    return VPDPBUSD if target.cpu in VNNI_CORES else None


def positions_together(dot: str) -> int:
    """Positions, and channels too, that one instruction multiplies."""
    return 2 if dot == SMMLA else 1


def multiplies_matrices(target: Target) -> bool:
    """Whether code for the target may use matrix products of bytes."""
    return target.arm64 and target.cpu in I8MM_CORES


def stored(target: Target) -> str:
    """The type that eight-bit activations are stored in: signed, but for x86, whose products want them unsigned."""
    return "uint8" if target.triple.startswith("x86") else "int8"
