"""ONNX files, from anywhere and trusted in nothing, become models."""

from __future__ import annotations

from pathlib import Path

from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, TypeProto

from pfir.errors import FrontendError
from pfir.frontends.onnx.external_data import ExternalData, parts
from pfir.frontends.onnx.limits import check_axes, check_calls, check_loops, check_nesting, check_sizes, check_value
from pfir.frontends.onnx.operators import check_operators, check_versions
from pfir.frontends.onnx.opset import convert_opset
from pfir.frontends.onnx.plain_words import check_text
from pfir.frontends.onnx.structure import sort_nodes
from pfir.frontends.onnx.survival import ended_by
from pfir.ir.checking.layer_checks import layer_fault
from pfir.ir.checking.onnx_checks import ENDLESS, forget_shapes, form_fault, infer
from pfir.ir.checking.weightless import weightless_of
from pfir.ir.model import NEWEST_IR_VERSION, Model
from pfir.ir.onnx_io import walk
from pfir.ir.onnx_io.tensors import to_array
from pfir.names import visible
from pfir.run.trial import Trial, trial


def load_onnx(path: Path, data: bytes) -> Model:
    """The model in a file.

    Args:
        path: Where the file lies: its folder bounds external data, its stem names the model.
        data: Its content.

    Raises:
        FrontendError: The file is no ONNX model, or one that cannot or must not be used; the text says why and where.
    """
    try:
        return _load(path, data)
    except FrontendError as error:
        raise FrontendError(visible(f"{str(path)!r}: {error}")) from error


def outside_of(path: Path, data: bytes) -> tuple[Path, ...]:
    """The files beside a model that its tensors' values lie in; the model has been loaded before."""
    return ExternalData(path.parent).files(walk.tensors(_parse(data)))


def _load(path: Path, data: bytes) -> Model:
    proto = _parse(data)
    unsorted = _check_cheaply(proto)
    outside = ExternalData(path.parent)
    alone = _check_arrays(proto, outside)
    if (end := ended_by(lambda: _native_checks(proto, outside))) is not None:
        raise FrontendError(f"onnx cannot check it: its own code {end}")
    form = form_fault(weightless_of(proto))
    if form is not None:
        raise FrontendError(f"onnx.checker refuses it: {form}")
    converted = convert_opset(proto, outside)
    as_it_is = converted is proto and not unsorted
    consistent = _check_shapes(converted, (data if alone else path) if as_it_is else None)
    model = Model.from_proto(converted, path.stem, outside.read)
    model.consistent = consistent
    # The file's bytes stand for the model, unless they need a second file beside them.
    model.source = data if alone else None
    model.source_runs = as_it_is and proto.ir_version <= NEWEST_IR_VERSION
    return model


def _parse(data: bytes) -> ModelProto:
    try:
        proto = ModelProto.FromString(data)
    except DecodeError as error:
        if "MaxDepth" in str(error) or "nesting" in str(error).lower():
            raise FrontendError("its graphs are nested too deeply (protobuf allows about 30 levels)") from error
        raise FrontendError("it is no ONNX model: truncated, damaged, or of another kind") from error
    if not proto.HasField("graph"):
        raise FrontendError("it holds no graph: truncated, or no ONNX model")
    return proto


def _check_cheaply(proto: ModelProto) -> bool:
    """Everything that needs no array; says whether nodes had to be sorted."""
    check_text(proto)
    check_versions(proto)
    check_sizes(proto)
    check_axes(proto)
    check_nesting(proto)
    check_calls(proto)
    check_operators(proto)
    check_loops(proto)
    return sort_nodes(proto)


def _check_arrays(proto: ModelProto, outside: ExternalData) -> bool:
    """Whether all values lie in the file itself; each tensor holds as much as it declares, wherever it is.

    External values other than initializers of the main graph are brought into the message.
    """
    alone = True
    for tensor in parts(walk.tensors(proto)):
        if tensor.data_location == TensorProto.EXTERNAL:
            outside.check(tensor)
            alone = False
        else:
            to_array(tensor)
    outside.bring_in(walk.inner_tensors(proto))
    return alone


def _native_checks(proto: ModelProto, outside: ExternalData) -> None:
    """All that onnx's compiled code is asked about a file: it has assertions and null pointers that models reach."""
    form_fault(weightless_of(proto))
    light = weightless_of(convert_opset(proto, outside))
    infer(light)
    infer(forget_shapes(light))


def _check_shapes(proto: ModelProto, file: bytes | Path | None) -> bool:
    """Whether the declared shapes agree with those that follow from the inputs.

    Where only the declared ones are at fault, ONNX Runtime warns and goes on, and so do we, without them. What onnx's
    rules refuse all the same is taken if ONNX Runtime runs it, since they are newer than its own; that it opens proves
    nothing. Of forty kinds of faults tried, onnx was wrong about one, sizes of -1, which the skeleton has no more.

    Raises:
        FrontendError: Operators are given shapes that they cannot take, or an inner tensor would exceed 4 GiB.
    """
    light = weightless_of(proto)
    inferred, fault = infer(light)
    consistent = fault is None
    if not consistent and fault != ENDLESS:
        inferred, fault = infer(forget_shapes(light))
        _drop_hints(proto)
        if inferred is not None:
            _correct_outputs(proto, inferred)
    if fault is not None and (fault == ENDLESS or not _runs(file)):
        raise FrontendError(f"its shapes contradict each other: {fault}")
    if inferred is not None and (fault := layer_fault(inferred)) is not None:
        raise FrontendError(f"its shapes contradict each other: {fault}")
    for value in inferred.graph.value_info if inferred is not None else ():
        check_value(value)
    return consistent


def _drop_hints(proto: ModelProto) -> None:
    for body in walk.graphs(proto):
        del body.value_info[:]


def _correct_outputs(proto: ModelProto, inferred: ModelProto) -> None:
    """Outputs declare what follows from the inputs, where that contradicts what they declared."""
    found = {v.name: v.type.tensor_type for v in inferred.graph.output}
    for value in proto.graph.output:
        declared, told = value.type.tensor_type, found.get(value.name)  # skeletons leave out those without a shape
        if told is not None and told.HasField("shape") and _contradict(declared, told):
            declared.shape.CopyFrom(told.shape)


def _contradict(one: TypeProto.Tensor, other: TypeProto.Tensor) -> bool:
    pairs = zip(one.shape.dim, other.shape.dim, strict=False)
    ranks = len(one.shape.dim) != len(other.shape.dim)
    return one.HasField("shape") and (ranks or any(0 < a.dim_value != b.dim_value > 0 for a, b in pairs))


def _runs(file: bytes | Path | None) -> bool:
    """Whether ONNX Runtime runs a file that onnx's rules for shapes refuse; nothing else has vouched for it so far."""
    return file is not None and trial(file, run=True) == Trial(None)
