"""A model without its large weights, for the checks of onnx, which copy a model whole and end at 2 GiB."""

from __future__ import annotations

from onnx import ModelProto, TensorProto, ValueInfoProto, helper

_KEPT_BYTES = 4096


def weightless_of(model: ModelProto) -> ModelProto:
    """A copy in which large initializers of the main graph became inputs of their type and shape.

    What passes onnx's checks in one passes in the other: small initializers, which shapes are computed from, stay.
    Outputs without a shape are left out: onnx.checker wants one, ONNX Runtime does not. A size of -1 is none, as ONNX
    Runtime takes it; onnx takes it for a number.
    """
    light = ModelProto()
    for field, value in model.ListFields():
        if field.name == "graph":
            continue
        target = getattr(light, field.name)
        if isinstance(value, str | bytes | int):
            setattr(light, field.name, value)
        elif hasattr(target, "extend"):
            target.extend(value)
    _graph(model, light)
    return light


def _graph(model: ModelProto, light: ModelProto) -> None:
    source, target = model.graph, light.graph
    target.name = source.name or "graph"
    target.node.extend(source.node)
    target.input.extend(source.input)
    target.output.extend(v for v in source.output if _shaped(v))
    target.value_info.extend(source.value_info)
    target.sparse_initializer.extend(source.sparse_initializer)
    for value in (*target.input, *target.output, *target.value_info):
        _open_sizes(value)
    inputs = {v.name for v in source.input}
    for tensor in source.initializer:
        if _small(tensor):
            target.initializer.append(tensor)
        elif tensor.name not in inputs:
            target.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))


def _open_sizes(value: ValueInfoProto) -> None:
    for dim in value.type.tensor_type.shape.dim if value.type.HasField("tensor_type") else ():
        if dim.HasField("dim_value") and dim.dim_value == -1:
            dim.Clear()


def _shaped(value: object) -> bool:
    return value.type.WhichOneof("value") != "tensor_type" or value.type.tensor_type.HasField("shape")


def _small(tensor: TensorProto) -> bool:
    return tensor.data_location != TensorProto.EXTERNAL and tensor.ByteSize() <= _KEPT_BYTES
