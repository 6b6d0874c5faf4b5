"""The model as pfir's rooms see it: a GraphSurgeon graph with what GraphSurgeon drops, and where it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pfir.artifact import TensorSpec
from pfir.errors import FrontendError
from pfir.ir.copying import copy_graph
from pfir.ir.edit import remove_dead
from pfir.ir.onnx_io.provenance import read_provenance, write_provenance
from pfir.ir.onnx_io.reading import Read, read_graph
from pfir.ir.onnx_io.saving import save_model
from pfir.ir.onnx_io.sharing import separate_constants, shared_again
from pfir.ir.onnx_io.tensors import fill_proto, numpy_dtype, to_array
from pfir.ir.onnx_io.writing import Fill, opset_imports, write_graph

# ONNX Runtime 1.19.2 loads nothing newer (notes: ONNX Runtime training).
NEWEST_IR_VERSION = 10
NEWEST_OPSET = 21


@dataclass
class Model:
    """A graph plus provenance.

    Args:
        graph: The graph; its tensors may be rewired freely, their arrays are never written into.
        name: How the user knows it (the file's stem).
        provenance: The texts of the passes that changed it, oldest first.
        source: The file's own bytes, as long as no pass changed anything.
        ir_version: The IR version it came with and leaves with, at most 10.
        header: Everything of the ONNX model but its graph: metadata, producer, local functions. Never written into.
        consistent: Whether the shapes that the file declares agree with those that follow from its inputs. ONNX Runtime
            takes models where they do not, so pfir does; there they are not checked again.
        source_runs: Whether ONNX Runtime 1.19.2 loads the original bytes: not if their IR version is above 10, say.
    """

    graph: gs.Graph
    name: str = "model"
    provenance: tuple[str, ...] = ()
    source: bytes | None = None
    ir_version: int = NEWEST_IR_VERSION
    header: onnx.ModelProto | None = None
    consistent: bool = True
    source_runs: bool = True

    @classmethod
    def from_proto(cls, proto: onnx.ModelProto, name: str = "model", read: Read = to_array) -> Model:
        """A model of an in-memory ONNX model, trusted to be well-formed (frontends check files).

        Args:
            proto: Not changed, and not needed afterwards.
            read: Gives the values of a tensor, for those that lie outside the file.
        """
        version = min(proto.ir_version or NEWEST_IR_VERSION, NEWEST_IR_VERSION)
        graph = read_graph(proto, read)
        separate_constants(graph)
        return cls(graph, name, read_provenance(proto), None, version, _header(proto))

    def clone(self) -> Model:
        """Another graph over the same arrays."""
        return Model(
            copy_graph(self.graph),
            self.name,
            self.provenance,
            self.source,
            self.ir_version,
            self.header,
            self.consistent,
            self.source_runs,
        )

    def __reduce__(self) -> tuple:
        """Pickle as the bytes of an ONNX file: GraphSurgeon's lists know their owners and do not survive a pickle."""
        rest = (self.name, self.source, self.header and self.header.SerializeToString(), self.consistent)
        return _unpickled, (self.to_proto().SerializeToString(), *rest, self.source_runs)

    def until(self, names: Sequence[str]) -> Model:
        """Another model that ends at these tensors of the main graph, without the nodes that they do not need."""
        copy = self.clone()
        tensors = copy.graph.tensors()
        copy.graph.outputs = [tensors[name] for name in names]
        remove_dead(copy.graph)
        return copy

    def record(self, text: str) -> None:
        """Note that the pass of this text changed the model; the original bytes no longer stand for it."""
        self.provenance = (*self.provenance, text)
        self.source = None

    def to_proto(self, fill: Fill = fill_proto) -> onnx.ModelProto:
        """The model as it is now, in a form that ONNX Runtime 1.19.2 loads.

        Args:
            fill: Writes the values of one tensor; saving a large model puts them outside the file.
        """
        proto = onnx.ModelProto()
        if self.header is not None:
            proto.CopyFrom(self.header)
        else:
            proto.producer_name = self.graph.producer_name or "pfir"
        proto.ir_version = self.ir_version
        proto.opset_import.extend(opset_imports(self.graph))
        write_provenance(proto, self.provenance)
        write_graph(self.graph, proto.graph, self.ir_version, fill)
        return proto

    def to_bytes(self) -> bytes:
        """The model as one ONNX file that ONNX Runtime 1.19.2 loads: the original bytes where they are that.

        Raises:
            FrontendError: It is above 2 GiB, which no single file of ONNX can hold; `save` writes two.
        """
        if self.source is not None and self.source_runs:
            return self.source
        try:
            return self.for_a_file().to_proto().SerializeToString()
        except (ValueError, MemoryError) as error:
            raise FrontendError(f"model {self.name!r} does not fit into one file of 2 GiB; save it instead") from error

    def for_a_file(self) -> Model:
        """Another model in which constants are shared again that were shared where it came from and are still equal."""
        other = self.clone()
        shared_again(other.graph)
        return other

    def save(self, path: str | Path, check: Callable[[Path], None] = lambda path: None) -> None:
        """Write the model: the file's own bytes if no pass changed it. The file appears whole or not at all.

        A model above 2 GiB gets a second file beside it, `<name>.data`. `check` is given the finished file before it
        takes its place; if it raises, nothing appears.
        """
        save_model(self, Path(path), check=check)

    def initializers(self) -> dict[str, gs.Constant]:
        """Every constant tensor of the main graph by name."""
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


def _unpickled(
    data: bytes, name: str, source: bytes | None, header: bytes | None, consistent: bool, source_runs: bool
) -> Model:
    model = Model.from_proto(onnx.ModelProto.FromString(data), name)
    model.source, model.consistent, model.source_runs = source, consistent, source_runs
    model.header = None if header is None else onnx.ModelProto.FromString(header)
    return model


def _header(proto: onnx.ModelProto) -> onnx.ModelProto:
    """All fields of a model that neither the graph nor `Model` holds."""
    header = onnx.ModelProto()
    for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        if proto.HasField(name):
            setattr(header, name, getattr(proto, name))
    header.functions.extend(proto.functions)
    header.metadata_props.extend(proto.metadata_props)
    write_provenance(header, ())
    return header


def _spec(tensor: gs.Tensor) -> TensorSpec:
    """Name, dtype and shape; what is no tensor has its kind (sequence, optional, map) for a dtype."""
    kind = getattr(tensor, "type", None) or "tensor_type"
    if kind != "tensor_type":
        return TensorSpec(tensor.name, kind.removesuffix("_type"), ())
    dtype = np.dtype(numpy_dtype(tensor.dtype) if isinstance(tensor.dtype, int) else tensor.dtype or np.float32).name
    return TensorSpec(tensor.name, dtype, tuple(tensor.shape) if tensor.shape is not None else ())
