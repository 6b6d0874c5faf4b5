"""A product over integers that skips units of weights that are zero: how it is shared out."""

from __future__ import annotations

from dataclasses import dataclass

from pfir.backends.tvm.schedule.blocks import Block
from pfir.backends.tvm.schedule.integers.dot_blocks import DotBlocks
from pfir.backends.tvm.schedule.integers.pair_blocks import PairBlocks
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile


@dataclass(frozen=True)
class SparseBlocks:
    """A product in blocks of a single vector of outputs.

    Args:
        plan: Its blocks, all of one kind, and the instructions that multiply them.
        inputs: Of a unit, side by side, which is skipped where its weights for a block are zero.
    """

    plan: DotBlocks | PairBlocks
    inputs: int

    @property
    def lanes(self) -> int:
        """Outputs of a unit."""
        return self.blocks[0].channels

    @property
    def blocks(self) -> tuple[Block, ...]:
        """As those of the plan."""
        return self.plan.blocks

    @property
    def dot(self) -> str:
        """The instructions."""
        return self.plan.dot

    @property
    def together(self) -> int:
        """Input values that one instruction multiplies for each position and output."""
        return self.plan.together

    @property
    def tile(self) -> MatrixTile:
        """The block's, as other kernels know it."""
        return self.plan.tile

    def __str__(self) -> str:
        """All that decides the kernel but its threads, in words that a database keeps."""
        return f"{self.plan}, skipping zeros by {self.inputs}"
