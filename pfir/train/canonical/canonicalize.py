"""The training copy of a model in the operators that ONNX Runtime can differentiate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from pfir.errors import TrainingError
from pfir.ir.model import Model
from pfir.ir.training import trainable_initializers
from pfir.train.canonical import activations as rewrite_activations
from pfir.train.canonical import batch_norm
from pfir.train.canonical import layers as rewrite_layers
from pfir.train.canonical import pooling as rewrite_pooling
from pfir.train.canonical import resize as rewrite_resize
from pfir.train.canonical.supported import REASONS, differentiable

# The opset that every rewrite and the training form of BatchNormalization (15) are written in; ORT 1.19 knows up to 21.
OPSET = 17

_REWRITES = {
    **rewrite_activations.REWRITES,
    **rewrite_layers.REWRITES,
    **rewrite_pooling.REWRITES,
    **rewrite_resize.REWRITES,
}


@dataclass(frozen=True)
class Canonical:
    """A training copy: the model, and where each running statistic gets its new value."""

    model: Model
    statistics: dict[str, str]


def canonicalize(model: Model, trainable: tuple[str, ...], frozen_batch_norm: bool = False) -> Canonical:
    """A copy with the same function, in operators with gradients; trainable initializers keep their names.

    Args:
        model: All input sizes fixed; not changed.
        trainable: Initializers to keep as they are: whatever a rewrite needs of them is computed in the graph.
        frozen_batch_norm: Rewrite every BatchNormalization to Mul and Add; otherwise it trains.
    """
    copy = at_opset(model)
    constants_to_initializers(copy)
    unique_names(copy)
    untie(copy, trainable)
    infer(copy)
    for node in list(copy.graph.nodes):
        rewrite = _REWRITES.get(node.op)
        if rewrite is not None and rewrite(copy.graph, node):
            node.outputs.clear()
    statistics = batch_norm.freeze(copy.graph) if frozen_batch_norm else batch_norm.train(copy.graph)
    copy.graph.cleanup().toposort()
    infer(copy)
    return Canonical(copy, statistics)


def check_trainable(model: Model) -> list[tuple[str, str, str]]:
    """(node, operator, reason) for each node between a weight and an output that cannot be trained through."""
    trainable = trainable_initializers(model)
    try:
        copy = canonicalize(model, trainable).model
    except TrainingError as error:
        return [(model.name, "model", str(error))]
    learning = reached_by(copy.graph, trainable)
    return [
        (node.name, node.op, REASONS.get(node.op, "ONNX Runtime has no gradient for it"))
        for node in copy.graph.nodes
        if node.name in learning and not differentiable(node)
    ]


def reached_by(graph: gs.Graph, names: tuple[str, ...]) -> set[str]:
    """The names of the nodes that depend on any of these tensors; the graph is sorted."""
    tensors, nodes = set(names), set()
    for node in graph.nodes:
        if any(t.name in tensors for t in node.inputs):
            nodes.add(node.name)
            tensors.update(t.name for t in node.outputs)
    return nodes


def at_opset(model: Model) -> Model:
    """A copy at opset 17, or at its own where that is newer."""
    copy = model.clone()
    copy.source, copy.ir_version = None, 10
    if copy.graph.opset >= OPSET:
        return copy
    try:
        converted = onnx.version_converter.convert_version(copy.to_proto(), OPSET)
    except Exception as error:  # the converter is native and raises RuntimeError subclasses of its own
        reason = str(error).strip().splitlines()[0][:200]
        said = f"{model.name} cannot be converted from opset {copy.graph.opset} to {OPSET} for training: {reason}"
        raise TrainingError(said) from error
    return Model(gs.import_onnx(converted), copy.name, copy.provenance, None, 10)


def constants_to_initializers(model: Model) -> None:
    """Constant nodes become initializers."""
    for node in [n for n in model.graph.nodes if n.op == "Constant"]:
        value = node.attrs.get("value")
        if isinstance(value, gs.Constant):
            node.outputs[0].to_constant(value.values)


def unique_names(model: Model) -> None:
    """Every node gets a name of its own."""
    seen: set[str] = set()
    for i, node in enumerate(model.graph.nodes):
        if not node.name or node.name in seen:
            node.name = f"{node.name or node.op}_pfir{i}"
        seen.add(node.name)


def untie(model: Model, trainable: tuple[str, ...]) -> None:
    """Identity nodes over initializers disappear, so that a tensor which an exporter shared is trained as one."""
    constants = {n for n, t in model.initializers().items() if n in trainable}
    for node in [n for n in model.graph.nodes if n.op == "Identity" and n.inputs[0].name in constants]:
        source, copy = node.inputs[0], node.outputs[0]
        for user in list(copy.outputs):
            user.inputs = [source if t is copy else t for t in user.inputs]


def infer(model: Model) -> None:
    """Fill in the dtype and shape of every tensor that ONNX's shape inference knows."""
    proto = onnx.shape_inference.infer_shapes(model.to_proto(), data_prop=True)
    tensors = model.graph.tensors()
    for info in (*proto.graph.value_info, *proto.graph.output):
        tensor, kind = tensors.get(info.name), info.type.tensor_type
        if isinstance(tensor, gs.Variable):
            tensor.dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            known = kind.HasField("shape")
            tensor.shape = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim] if known else None


def constant_of(tensor: gs.Tensor) -> np.ndarray | None:
    """The value of a constant tensor; None for any other."""
    return tensor.values if isinstance(tensor, gs.Constant) else None
