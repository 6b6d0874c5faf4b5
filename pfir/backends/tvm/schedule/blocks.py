"""How a direct convolution is shared out: blocks of output channels, each with vectors and rows of its own."""

from __future__ import annotations

from dataclasses import dataclass

from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES, by_lane
from pfir.target import Target

NHWC = (0, 2, 3, 1)
# Multiply-adds of a step that hide the latency of one.
ENOUGH = 7
# Vectors of channels, and single channels behind them.
Shape = tuple[tuple[int, ...], int]
# Input values that are unrolled where they are multiplied from the lanes of a register.
STEPS = 4


@dataclass(frozen=True)
class Block:
    """Output channels that one register tile computes.

    Args:
        lanes: Of each vector of channels, side by side.
        singles: Channels behind the vectors, each summed across the lanes of vectors of input values.
        rows: Output positions of a tile, at most.
        count: Such blocks, one after the other.
    """

    lanes: tuple[int, ...]
    singles: int
    rows: int
    count: int = 1

    @property
    def channels(self) -> int:
        return sum(self.lanes) + self.singles

    def copies(self, rows: int, steps: int) -> int:
        """The accumulators, in place of each one, among which the steps of a tile of `rows` rows take turns."""
        if not self.lanes:
            return 1
        return min(steps, -(-ENOUGH * steps // (rows * (len(self.lanes) * steps + self.singles))))

    def __str__(self) -> str:
        vectors = "+".join(str(lanes) for lanes in self.lanes) + (f" and {self.singles}" if self.singles else "")
        return f"{self.count} of {vectors} x {self.rows}"


def first_tile(blocks: tuple[Block, ...], steps: int, threads: int) -> MatrixTile:
    """The tile of the first block, of which so many input values are unrolled."""
    first = blocks[0]
    return MatrixTile(max(first.lanes), len(first.lanes), first.rows, steps, threads)


@dataclass(frozen=True)
class Direct:
    """A convolution in blocks of channels, the last of which is as narrow as what is left.

    Args:
        blocks: Cover the output channels of a group in this order; the very last vector may overlap the one before it,
            or be wider than all channels.
        steps: Input values that are unrolled.
        threads: Threads that share the kernel's outer loops.
    """

    blocks: tuple[Block, ...]
    steps: int
    threads: int = 1

    @property
    def tile(self) -> MatrixTile:
        """The first block's, as other kernels know it."""
        return first_tile(self.blocks, self.steps, self.threads)

    def __str__(self) -> str:
        """All that decides the kernel but its threads, in words that a database keeps."""
        return f"direct {', '.join(str(block) for block in self.blocks)}, {self.steps} steps"


def bordered(order: tuple[int, ...], channels: int) -> bool:
    """Whether the input is copied first, its channels side by side and with the border around it: few channels of an
    image, which lies in ONNX's order, or would give the taps that the border leaves no whole vector."""
    return order != NHWC or channels < FEWEST_LANES


def one_run(order: tuple[int, ...], channels: int, columns: int, step: int, together: int) -> bool:
    """Whether what lies under a row of a kernel over a copied image of bytes is one run of at least as many values as
    are taken `together`, so that the copy needs no channels beside its own.

    Args:
        channels: Of the image.
        columns, step: Of the kernel, and from one to the next.
    """
    return together > 1 and bordered(order, channels) and step == 1 and columns * channels >= together


def steps_of(target: Target, singles: bool) -> int:
    """Input values that are unrolled: a vector of them where they come as one."""
    return min(8, target.lanes) if singles and not by_lane(target) else STEPS
