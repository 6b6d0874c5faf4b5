"""A convolution over integers of eight bits by Winograd's transforms in 16 bits: how it is shared out."""

from __future__ import annotations

from dataclasses import dataclass

from pfir.backends.tvm.schedule.tile_kinds import MatrixTile

POINTS, POINT_BYTES = 8, 2
"""Points of 16 bits in a vector, and what one takes."""


@dataclass(frozen=True)
class IntegerWinograd:
    """A convolution over tiles.

    Args:
        outputs: Rows and columns of a tile of the result.
        strip: Rows of tiles whose transforms lie in the caches together.
        lanes: Channels of the result that are written together.
        tile: Register tile of the products, tiles of the image as rows.
        dot: The instruction that multiplies.
    """

    outputs: int
    strip: int
    lanes: int
    tile: MatrixTile
    dot: str

    @property
    def abreast(self) -> int:
        """Times so many lanes that the image's transform takes at a time."""
        return POINTS // self.lanes

    def __str__(self) -> str:
        """All that decides the kernel, in words that a database keeps."""
        size = f"{self.outputs}x{self.outputs}"
        return f"{self.dot} winograd {size}, strips of {self.strip}, {self.lanes} lanes, {self.tile}"
