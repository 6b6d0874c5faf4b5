"""Whether shape inference of a model stays small: vectors of sizes, and so shapes, can double with every node.

A rough count along the nodes clears nearly all models; of the others a child process with little memory finds out.
"""

from __future__ import annotations

import faulthandler
import math
import os
import resource
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from pfir.errors import FrontendError
from pfir.ir.onnx_io import walk
from pfir.ir.onnx_io.tensors import to_array

_MOST_AXES, _MOST_SIZES = 64, 4096
_UNKNOWN_AXES = 8
_LONGEST_VECTOR = 1 << 16
_MEMORY_BYTES, _SECONDS, _NODES_PER_SECOND = 128 << 20, 5, 500
_WHOLE = (TensorProto.INT64, TensorProto.INT32)
_REPEATING = frozenset(("Tile", "Range", "Pad", "Resize", "NonZero"))
_DEEPENING = frozenset(("OneHot", "Loop", "Scan", "LSTM", "GRU", "RNN", "ConcatFromSequence", "STFT", "Einsum"))

_FRAGILE = frozenset(("EyeLike",))
"""Operators at which onnx 1.20 reads the type of an input that has none, which ends the process: tried in a child."""

# Tensors that once grew too far: passes ask again and again of models that differ little.
_UNBOUNDED: set[frozenset[str]] = set()


@dataclass(frozen=True)
class _Extent:
    """How many axes a tensor has at most, and how many numbers it holds at most if it is a vector of whole numbers."""

    axes: int
    count: int = 0


def infer_shapes(proto: ModelProto, **options: bool) -> ModelProto:
    """`onnx.shape_inference.infer_shapes`, without the values of sizes where these grow beyond bounds.

    Raises:
        FrontendError: Operators lack inputs, or contradict each other where onnx goes on with no others. A file's own
            are refused before; operators of other domains are known only once they stand in for ONNX's.
    """
    fragile = _FRAGILE.intersection(node.op_type for body in walk.graphs(proto) for node in body.node)
    if fragile and not _affordable(proto.SerializeToString(deterministic=True), ()):
        raise FrontendError(f"sizes cannot be inferred: onnx's own code ends the process at {', '.join(fragile)}")
    try:
        if options.get("data_prop") and not is_bounded(proto, **options):
            options["data_prop"] = False
        return onnx.shape_inference.infer_shapes(proto, **options)
    except onnx.shape_inference.InferenceError as error:
        raise FrontendError(f"sizes do not follow from each other: {' '.join(str(error).split())}") from error


def is_bounded(proto: ModelProto, **options: bool) -> bool:
    """Whether inference ends within a few seconds and little memory."""
    growing = _growing(proto)
    if options.get("data_prop") and not growing:
        growing = _long_vectors(proto)
    if not growing:
        return True
    if growing in _UNBOUNDED:
        return False
    bounded = _affordable(proto.SerializeToString(deterministic=True), tuple(options.items()))
    if not bounded:
        _UNBOUNDED.add(growing)
    return bounded


@lru_cache(maxsize=16)
def _affordable(data: bytes, options: tuple[tuple[str, bool], ...]) -> bool:
    child = os.fork()
    if not child:
        _infer_and_exit(ModelProto.FromString(data), dict(options))
    return os.waitpid(child, 0)[1] == 0


def _infer_and_exit(proto: ModelProto, options: Mapping[str, bool]) -> None:
    try:
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the C library says there that memory ended
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        seconds = _SECONDS + sum(len(body.node) for body in walk.graphs(proto)) // _NODES_PER_SECOND
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (_address_bytes() + _MEMORY_BYTES,) * 2)
        onnx.shape_inference.infer_shapes(proto, **options)
    except MemoryError:
        os._exit(1)
    except Exception:  # noqa: BLE001 - a fault that inference finds is for the process that asks for its result
        os._exit(0)
    finally:
        os._exit(0)  # whatever happened: nothing of the parent, its exit handlers included, may run here


def _address_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _growing(proto: ModelProto) -> frozenset[str]:
    """The tensors that may have very many axes, or hold very many sizes; functions stand for what they make."""
    found: dict[str, _Extent] = {}
    _find_extents(proto.graph, found)
    wide = (name for name, e in found.items() if e.axes > _MOST_AXES or e.count > _MOST_SIZES)
    return frozenset((*wide, *(f.name for f in proto.functions)))


def _long_vectors(proto: ModelProto) -> frozenset[str]:
    """Vectors whose every element onnx would take for a size of its own once it follows values."""
    graph = onnx.shape_inference.infer_shapes(proto).graph
    shapes = {v.name: v.type.tensor_type.shape.dim for v in (*graph.value_info, *graph.input, *graph.output)}
    known = {name: dims[0].dim_value for name, dims in shapes.items() if len(dims) == 1}
    known |= {t.name: t.dims[0] for t in graph.initializer if len(t.dims) == 1}
    return frozenset(name for name, size in known.items() if size > _LONGEST_VECTOR)


def _find_extents(graph: GraphProto, found: dict[str, _Extent]) -> None:
    found.update((v.name, _declared(v.type.tensor_type)) for v in graph.input)
    found.update((t.name, _stored(t)) for t in graph.initializer)
    values = {t.name: t for t in graph.initializer}
    for node in graph.node:
        for body in walk.bodies(node):
            _find_extents(body, found)
        values.update((node.output[0], a.t) for a in node.attribute if node.op_type == "Constant" and a.HasField("t"))
        extent = _made(node, [found.get(name, _Extent(_UNKNOWN_AXES)) for name in node.input], values)
        found.update(dict.fromkeys(node.output, extent))


def _declared(kind: onnx.TypeProto.Tensor) -> _Extent:
    sizes = [d.dim_value for d in kind.shape.dim]
    known = kind.HasField("shape") and len(sizes) < 2 and kind.elem_type in _WHOLE
    return _Extent(len(sizes) if kind.HasField("shape") else _UNKNOWN_AXES, math.prod(sizes) if known else 0)


def _stored(tensor: TensorProto) -> _Extent:
    vector = len(tensor.dims) < 2 and tensor.data_type in _WHOLE
    return _Extent(len(tensor.dims), math.prod(tensor.dims) if vector else 0)


def _made(node: NodeProto, given: list[_Extent], values: Mapping[str, TensorProto]) -> _Extent:
    """The extent of a node's outputs; a tensor of more axes than one is no vector of sizes."""
    widest = _Extent(max((e.axes for e in given), default=0), max((e.count for e in given), default=1))
    lists = {a.name: len(a.ints) for a in node.attribute}
    first, second = (*given, widest, widest)[:2]
    listed = lists.get("axes", second.count if len(given) > 1 else 0)
    match node.op_type:
        case "Constant":
            tensor = values.get(node.output[0])
            made = _Extent(1, sum(lists.values())) if tensor is None else _stored(tensor)
        case "Shape":
            made = _Extent(1, first.axes)
        case "Size":
            made = _Extent(0, 1)
        case "Concat":
            made = _Extent(widest.axes, sum(e.count for e in given))
        case "Gather" | "GatherND":
            made = _Extent(max(first.axes + second.axes - 1, 0), second.count if first.axes < 2 else first.count)
        case "Slice":
            made = first
        case "Unsqueeze":
            made = _Extent(first.axes + listed, first.count)
        case "Squeeze":
            made = _Extent(max(first.axes - listed, 0), first.count)
        case "Reshape":
            made = _Extent(lists.get("shape", second.count or _MOST_AXES + 1), first.count)
        case "ConstantOfShape":
            made = _Extent(first.count or _MOST_AXES + 1, _product(values.get(node.input[0])))
        case "Expand":
            made = _Extent(max(first.axes, second.count or _MOST_AXES + 1), _product(values.get(node.input[1])))
        case op if op in _REPEATING:
            made = _Extent(widest.axes, _MOST_SIZES)
        case op if op in _DEEPENING:
            made = _Extent(widest.axes + 1, _MOST_SIZES)
        case _:
            made = _Extent(max(widest.axes, lists.get("shape", 0)), widest.count)
    return made if made.axes < 2 else _Extent(made.axes)


def _product(sizes: TensorProto | None) -> int:
    """How many elements a tensor of these sizes has; very many where sizes are computed, or are too many."""
    if sizes is None or sizes.data_location == TensorProto.EXTERNAL or math.prod(sizes.dims) > _MOST_AXES:
        return _MOST_SIZES
    return math.prod(map(int, to_array(sizes).ravel()))
