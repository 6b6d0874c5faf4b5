"""What `--size` counts: files, the packed one over the original as it was given."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pfir.compile.request import Request
from pfir.frontends import outside_files, read_model
from pfir.ir.model import Model
from pfir.packing.packing import graph_bytes, pack_model
from pfir.report.weights import Files

SPARE = 1.005
"""How many times smaller than is asked a file has to be before training, which makes it pack a little worse."""


@dataclass(frozen=True)
class Sizes:
    """How large a result is.

    Args:
        files: Bytes of the original's file and of its own.
    """

    files: Files

    @property
    def times(self) -> float:
        """How many times smaller the packed file is than the original's."""
        return self.files.original_bytes / self.files.packed_bytes

    def reach(self, size: float | None) -> bool:
        """Whether so many times smaller is reached; always where nothing is asked."""
        return size is None or self.times >= size

    def with_weights(self, share: float) -> Sizes:
        """About the sizes once only this share of the weights is left, kept as they are now."""
        files = self.files
        packed = round(files.graph_bytes + share * (files.packed_bytes - files.graph_bytes))
        return replace(self, files=replace(files, packed_bytes=packed))

    def share_for(self, size: float) -> float:
        """About the share of the weights that may be left where the result is to be so many times smaller.

        It is 0 where the graph alone takes more.
        """
        files = self.files
        values = max(files.packed_bytes - files.graph_bytes, 1)
        return max(0.0, files.original_bytes / size - files.graph_bytes) / values


def sizes_of(request: Request, model: Model) -> Sizes:
    """The sizes of a model beside those of the original, told by packing it."""
    content = model.to_bytes()
    return Sizes(files_of(request, content, pack_model(content)))


def files_of(request: Request, model: bytes, packed: bytes) -> Files:
    """The sizes of files.

    Args:
        model: The result's.
        packed: The same, packed.
    """
    outside = sum(path.stat().st_size for path in outside_files(request.model))
    return Files(len(read_model(request.model)) + outside, len(model), len(packed), graph_bytes(model))
