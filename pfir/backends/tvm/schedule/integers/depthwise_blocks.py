"""A depthwise convolution over integers: blocks of channels, by tiles of positions."""

from __future__ import annotations

from dataclasses import dataclass

from pfir.backends.tvm.schedule.blocks import Block
from pfir.backends.tvm.schedule.tile_kinds import ChannelTile


@dataclass(frozen=True)
class DepthwiseBlocks:
    """How one is shared out.

    Args:
        blocks: Cover the channels in this order, one vector each; the very last one may overlap the one before it.
        lines: Lines of a tile, which share the rows of the image that they overlap in.
        dot: The instruction that adds up products; empty for products of 16 bits.
        threads: Threads that share the kernel's outer loops.
    """

    blocks: tuple[Block, ...]
    lines: int
    dot: str
    threads: int = 1

    @property
    def tile(self) -> ChannelTile:
        """The first block's, as other kernels know it."""
        return ChannelTile(self.blocks[0].channels, self.blocks[0].rows, self.threads)

    def __str__(self) -> str:
        """All that decides the kernel but its threads, in words that a database keeps."""
        blocks = ", ".join(str(block) for block in self.blocks)
        return f"depthwise {self.dot or '16 bits'} {blocks} x {self.lines} lines"
