"""The model as pfir's rooms see it: a GraphSurgeon graph with what GraphSurgeon drops, and where it came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pfir.artifact import TensorSpec


@dataclass
class Model:
    """A graph plus provenance.

    Args:
        graph: The graph; its tensors may be rewired freely, their arrays are never written into.
        name: How the user knows it (the file's stem).
        provenance: The texts of the passes that changed it, oldest first.
        source: The file's own bytes, as long as no pass changed anything.
        ir_version: The IR version it came with and leaves with.
    """

    graph: gs.Graph
    name: str = "model"
    provenance: tuple[str, ...] = ()
    source: bytes | None = None
    ir_version: int = 10

    @classmethod
    def from_proto(cls, proto: onnx.ModelProto, name: str = "model") -> Model:
        """A model of an in-memory ONNX model, trusted to be well-formed (frontends check files)."""
        return cls(gs.import_onnx(proto), name=name, ir_version=min(proto.ir_version or 10, 10))

    def clone(self) -> Model:
        """Another graph over the same arrays."""
        return Model(self.graph.copy(), self.name, self.provenance, self.source, self.ir_version)

    def record(self, text: str) -> None:
        """Note that the pass of this text changed the model; the original bytes no longer stand for it."""
        self.provenance = (*self.provenance, text)
        self.source = None

    def to_proto(self) -> onnx.ModelProto:
        proto = gs.export_onnx(self.graph, do_type_check=False)
        proto.ir_version = self.ir_version
        return proto

    def to_bytes(self) -> bytes:
        return self.source if self.source is not None else self.to_proto().SerializeToString()

    def initializers(self) -> dict[str, gs.Constant]:
        """Every constant tensor by name."""
        return {n: t for n, t in self.graph.tensors().items() if isinstance(t, gs.Constant)}

    def set_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Replace the values of initializers by name; a name the model lacks is a KeyError."""
        constants = self.initializers()
        for name, array in arrays.items():
            constants[name].values = np.asarray(array)

    def inputs(self) -> tuple[TensorSpec, ...]:
        return tuple(_spec(t) for t in self.graph.inputs)

    def outputs(self) -> tuple[TensorSpec, ...]:
        return tuple(_spec(t) for t in self.graph.outputs)

    def nodes(self) -> Iterator[gs.Node]:
        return iter(self.graph.nodes)


def _spec(tensor: gs.Tensor) -> TensorSpec:
    dtype = np.dtype(tensor.dtype).name if tensor.dtype is not None else "float32"
    return TensorSpec(tensor.name, dtype, tuple(tensor.shape) if tensor.shape is not None else ())
