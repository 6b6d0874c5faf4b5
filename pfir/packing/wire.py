"""Where the values of tensors lie within a serialized ONNX model, told from protobuf's wire format alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

from pfir.errors import FrontendError
from pfir.ir.onnx_io.tensors import stored_bytes

LEAST_BYTES = 512
"""Values of fewer bytes stay where they are: what is noted of each tensor would outweigh what is gained."""
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_FIXED = {_EIGHT: 8, _FOUR: 4}
_FLOATS = {
    TensorProto.FLOAT_DATA_FIELD_NUMBER: 4,
    TensorProto.DOUBLE_DATA_FIELD_NUMBER: 8,
}
"""Packed fields of fixed width, and that width in bytes. The other typed fields are varints."""

_Message = dict[int, "_Message"]
"""A message that may hold tensors, as field numbers with the messages there."""
_TENSOR: _Message = {}
_GRAPH: _Message = {}
_SPARSE: _Message = {
    SparseTensorProto.VALUES_FIELD_NUMBER: _TENSOR,
    SparseTensorProto.INDICES_FIELD_NUMBER: _TENSOR,
}
_ATTRIBUTE: _Message = {
    AttributeProto.T_FIELD_NUMBER: _TENSOR,
    AttributeProto.TENSORS_FIELD_NUMBER: _TENSOR,
    AttributeProto.G_FIELD_NUMBER: _GRAPH,
    AttributeProto.GRAPHS_FIELD_NUMBER: _GRAPH,
    AttributeProto.SPARSE_TENSOR_FIELD_NUMBER: _SPARSE,
    AttributeProto.SPARSE_TENSORS_FIELD_NUMBER: _SPARSE,
}
_NODE: _Message = {NodeProto.ATTRIBUTE_FIELD_NUMBER: _ATTRIBUTE}
_FUNCTION: _Message = {
    FunctionProto.NODE_FIELD_NUMBER: _NODE,
    FunctionProto.ATTRIBUTE_PROTO_FIELD_NUMBER: _ATTRIBUTE,
}
_GRAPH.update(
    {
        GraphProto.NODE_FIELD_NUMBER: _NODE,
        GraphProto.INITIALIZER_FIELD_NUMBER: _TENSOR,
        GraphProto.SPARSE_INITIALIZER_FIELD_NUMBER: _SPARSE,
    }
)
_MODEL: _Message = {ModelProto.GRAPH_FIELD_NUMBER: _GRAPH, ModelProto.FUNCTIONS_FIELD_NUMBER: _FUNCTION}


@dataclass(frozen=True)
class Values:
    """The values of a tensor within a file.

    Args:
        start: Their first byte.
        count: How many elements; those of fewer than eight bits count by their bytes.
        width: Bytes of one: 1, 2, 4 or 8.
    """

    start: int
    count: int
    width: int

    @property
    def end(self) -> int:
        """The byte behind them."""
        return self.start + self.count * self.width


@dataclass(frozen=True)
class File:
    """A file to be packed.

    Args:
        name: Relative to the model's folder; empty for the model itself.
        content: All of it.
        values: Where tensors lie in it, in order and apart from each other.
    """

    name: str
    content: bytes
    values: tuple[Values, ...]


def values_at(start: int, size: int, element: int) -> Values:
    """The values of a tensor of an ONNX element type whose bytes are known."""
    return _of_width(start, start + size, _width_of(element))


def values_within(content: bytes) -> tuple[list[Values], list[TensorProto]]:
    """The values of a model's tensors in the order of the file, and the tensors whose values lie outside it.

    Raises:
        FrontendError: The content is no serialized ONNX model.
    """
    within: list[Values] = []
    outside: list[TensorProto] = []
    for start, end in _tensors(content):
        found = _values(content, start, end)
        if isinstance(found, TensorProto):
            outside.append(found)
        elif found is not None and found.count * found.width >= LEAST_BYTES:
            within.append(found)
    return sorted(within, key=lambda v: v.start), outside


def _tensors(content: bytes) -> Iterator[tuple[int, int]]:
    """Where each tensor's message lies; without recursion, whatever the nesting."""
    waiting = [(_MODEL, 0, len(content))]
    graph = False
    while waiting:
        kind, start, end = waiting.pop()
        for number, wire, at, stop in _fields(content, start, end):
            inner = kind.get(number)
            graph |= kind is _MODEL and number == ModelProto.GRAPH_FIELD_NUMBER
            if inner is _TENSOR and wire == _BYTES:
                yield at, stop
            elif inner is not None and wire == _BYTES:
                waiting.append((inner, at, stop))
    if not graph:
        raise FrontendError("it holds no graph: truncated, or no ONNX model")


def _values(content: bytes, start: int, end: int) -> Values | TensorProto | None:
    element, raw, typed = 0, None, None
    for number, wire, at, stop in _fields(content, start, end):
        if number == TensorProto.DATA_TYPE_FIELD_NUMBER and wire == _VARINT:
            element = _varint(content, at, end)[0]
        elif number == TensorProto.RAW_DATA_FIELD_NUMBER and wire == _BYTES:
            raw = (at, stop)
        elif number in _FLOATS and wire == _BYTES:
            typed = (at, stop, _FLOATS[number])
        elif number == TensorProto.DATA_LOCATION_FIELD_NUMBER and _varint(content, at, end)[0] == TensorProto.EXTERNAL:
            return _parsed(content[start:end])
    if raw is not None:
        return values_at(raw[0], raw[1] - raw[0], element)
    return None if typed is None else _of_width(*typed)


def _parsed(content: bytes) -> TensorProto:
    try:
        tensor: TensorProto = TensorProto.FromString(content)
    except DecodeError:
        raise _DAMAGED from None
    return tensor


def _of_width(start: int, stop: int, width: int) -> Values:
    """The values between two places, by single bytes where the width does not divide them."""
    size = stop - start
    return Values(start, size, 1) if size % width else Values(start, size // width, width)


def _width_of(element: int) -> int:
    """Bytes of an element that are compressed as one number; 1 where it has fewer bits, or none is known."""
    try:
        size = stored_bytes(element, 1)
    except FrontendError:
        return 1
    return min(size, 8)  # a complex number of 16 bytes is two numbers


def _fields(content: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message: number, wire type, and where the value stands.

    Raises:
        FrontendError: It breaks off, or has a wire type that ONNX's messages have not.
    """
    at = start
    while at < end:
        tag, at = _varint(content, at, end)
        wire = tag & 7
        if wire == _VARINT:
            stop = _varint(content, at, end)[1]
        elif wire == _BYTES:
            length, at = _varint(content, at, end)
            stop = at + length
        else:
            stop = at + _FIXED.get(wire, end)
        if stop > end:
            raise _DAMAGED
        yield tag >> 3, wire, at, stop
        at = stop


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = content[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
    raise _DAMAGED


_DAMAGED = FrontendError("it is no ONNX model: truncated, damaged, or of another kind")
