"""A convolution by Winograd's transforms: how it is shared out."""

from __future__ import annotations

from dataclasses import dataclass

from pfir.backends.tvm.schedule.tile_kinds import MatrixTile, NarrowingTile


@dataclass(frozen=True)
class Winograd:
    """A convolution over tiles.

    Args:
        outputs: Rows and columns of a tile of the result.
        strip: Rows of tiles whose transforms lie in the caches together.
        lanes: Of the transforms.
        tile: Register tile of the products, tiles of the image as rows.
    """

    outputs: int
    strip: int
    lanes: int
    tile: MatrixTile | NarrowingTile

    def __str__(self) -> str:
        """All that decides the kernel, in words that a database keeps."""
        return f"winograd {self.outputs}x{self.outputs}, strips of {self.strip}, {self.lanes} lanes, {self.tile}"
