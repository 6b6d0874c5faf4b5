"""What `--size` counts: packed files, or the bits of weights where a file is mostly its graph."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pfir.compile.prepare import fixed
from pfir.compile.request import Request
from pfir.frontends import outside_files, read_model
from pfir.ir.costs.model_cost import model_cost
from pfir.ir.model import Model
from pfir.packing.packing import graph_bytes, pack_model
from pfir.report.weights import Files

ROUNDING = 1.005
"""A goal counts as met within half a percent: widths come in steps."""
MOSTLY = 0.5
"""The share of a packed file from which on its graph is most of it, which no compression of weights makes smaller."""


@dataclass(frozen=True)
class Sizes:
    """How large a result is.

    Args:
        files: Bytes of the original's file and of its own.
        before_bytes: Of the original's weights, by the bits stored.
        after_bytes: Of its own.
    """

    files: Files
    before_bytes: float
    after_bytes: float

    @property
    def is_mostly_graph(self) -> bool:
        """Whether the packed file is so small that its graph is most of it."""
        return self.files.graph_bytes >= MOSTLY * self.files.packed_bytes

    @property
    def packed(self) -> float:
        """How many times smaller the packed file is than the original's."""
        return self.files.original_bytes / self.files.packed_bytes

    @property
    def times(self) -> float:
        """How many times smaller the result is: its packed file, or its weights where the file is mostly its graph."""
        return max(self.packed, self.before_bytes / max(self.after_bytes, 1)) if self.is_mostly_graph else self.packed

    def reach(self, size: float | None) -> bool:
        """Whether so many times smaller is reached; always where nothing is asked."""
        return size is None or self.times * ROUNDING >= size

    def with_weights(self, share: float) -> Sizes:
        """About the sizes once only this share of the weights is left, kept as they are now."""
        files = self.files
        packed = round(files.graph_bytes + share * (files.packed_bytes - files.graph_bytes))
        return replace(self, files=replace(files, packed_bytes=packed), after_bytes=share * self.after_bytes)

    def share_for(self, size: float) -> float:
        """About the share of the weights that may be left where the result is to be so many times smaller."""
        files = self.files
        values = max(files.packed_bytes - files.graph_bytes, 1)
        by_file = (files.original_bytes / size - files.graph_bytes) / values
        by_bits = self.before_bytes / size / max(self.after_bytes, 1)
        mostly_graph = files.graph_bytes * (1 / MOSTLY - 1) / values
        return max(by_file, min(by_bits, mostly_graph))


def sizes_of(request: Request, baseline: Model, model: Model) -> Sizes:
    """The sizes of a model beside those of the original, told by packing it.

    Args:
        baseline: The original, simplified and folded: what its weights take.
    """
    content = model.to_bytes()
    files = files_of(request, content, pack_model(content))
    before, after = (model_cost(fixed(each, request)).size_bytes for each in (baseline, model))
    return Sizes(files, before, after)


def files_of(request: Request, model: bytes, packed: bytes) -> Files:
    """The sizes of files.

    Args:
        model: The result's.
        packed: The same, packed.
    """
    outside = sum(path.stat().st_size for path in outside_files(request.model))
    return Files(len(read_model(request.model)) + outside, len(model), len(packed), graph_bytes(model))
