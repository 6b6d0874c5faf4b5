"""BatchNormalization, and per-channel Mul, Div, Add and Sub, folded into the weights beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import Names, array, bypass, held, is_op, only_consumer, producer, sweep
from pfir.ir.linear import Linear, linear_layer
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.passes.base import Change, Context, Pass


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """Fold what scales and shifts channels into the convolution or dense layer in front of it, else behind it.

    Rewrite, with a = scale / sqrt(var + epsilon) and c = bias - mean * a::

        BN(W x + b)         ->  (a W) x + (a b + c)
        W (BN(x)) + b       ->  (W a) x + (b + W c)        only where no padding adds zeros to BN(x)

    Outputs are the same up to float rounding. A BatchNormalization that cannot be folded stays, and a note says why.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", CVPR 2018, section 3.2, for the folding; ours also folds forwards and keeps weights that others share.
    """

    name: ClassVar[str] = "fold-batch-norm"

    def apply(self, model: Model, context: Context) -> Change:
        infer_shapes(model)
        graph = model.graph
        folded = _fold_backwards(graph) + _fold_forwards(graph)
        notes = [f"folded: {folded}"] if folded else []
        notes += [f"{n.name} stays: {_why(n, held(graph))}" for n in graph.nodes if is_op(n, "BatchNormalization")]
        if folded:
            infer_shapes(model)
        return Change(folded > 0, tuple(notes))


@dataclass(frozen=True)
class _Affine:
    """y = scale * x + shift per channel, float64 [C] or [1]."""

    scale: np.ndarray
    shift: np.ndarray


def _fold_backwards(graph: gs.Graph) -> int:
    holding, names = held(graph), Names(graph)
    count = 0
    for node in list(graph.nodes):
        layer = linear_layer(graph, node, names, holding)
        while layer is not None:
            behind = only_consumer(node.outputs[0], holding)
            affine = _affine(behind, node.outputs[0], layer) if behind is not None else None
            if affine is None or not layer.scale_outputs(affine.scale, affine.shift):
                break
            index = next(i for i, t in enumerate(behind.inputs) if t is node.outputs[0])
            bypass(behind, holding, index)
            count += 1
    sweep(graph)
    return count


def _fold_forwards(graph: gs.Graph) -> int:
    holding, names = held(graph), Names(graph)
    count = 0
    for node in [n for n in graph.nodes if is_op(n, "BatchNormalization")]:
        affine = _batch_norm(node)
        behind = only_consumer(node.outputs[0], holding)
        if affine is None or behind is None or [t is node.outputs[0] for t in behind.inputs[:2]] != [True, False]:
            continue
        layer = linear_layer(graph, behind, names, holding)
        if layer is not None and layer.scale_inputs(affine.scale, affine.shift):
            bypass(node, holding)
            count += 1
    sweep(graph)
    return count


def _affine(node: gs.Node, source: gs.Tensor, layer: Linear) -> _Affine | None:
    """What a node does to each channel of a layer's output."""
    if is_op(node, "BatchNormalization"):
        return _batch_norm(node) if node.inputs[0] is source and layer.axis_is_one else None
    if not is_op(node, "Mul", "Div", "Add", "Sub") or _broadcasts_oddly(node):
        return None
    first = node.inputs[0] is source
    value = array(node.inputs[1 if first else 0])
    per_channel = _per_channel(value, layer) if value is not None else None
    if per_channel is None:
        return None
    return _arithmetic(node.op, per_channel, first)


def _broadcasts_oddly(node: gs.Node) -> bool:
    """Whether the node broadcasts as operators did before opset 7."""
    return "broadcast" in node.attrs or "axis" in node.attrs


def _arithmetic(op: str, value: np.ndarray, first: bool) -> _Affine | None:
    one, zero = np.ones(1), np.zeros(1)
    if op == "Mul":
        return _Affine(value, zero)
    if op == "Add":
        return _Affine(one, value)
    if op == "Sub":
        return _Affine(one, -value) if first else _Affine(-one, value)
    return _Affine(1.0 / value, zero) if first and value.all() else None


def _per_channel(value: np.ndarray, layer: Linear) -> np.ndarray | None:
    """A constant as one value per output channel [C] or for all [1]; None if it varies elsewhere or adds axes."""
    if value.dtype.kind != "f" or value.ndim > layer.rank:
        return None
    shape = (1,) * (layer.rank - value.ndim) + value.shape
    rest = [d for i, d in enumerate(shape) if i != layer.axis]
    if any(d != 1 for d in rest) or shape[layer.axis] not in (1, layer.channels):
        return None
    return value.astype(np.float64).ravel()


def _batch_norm(node: gs.Node) -> _Affine | None:
    """A BatchNormalization in inference mode whose statistics are constants."""
    values = [array(t) for t in node.inputs[1:5]]
    if any(v is None for v in values) or _refusal(node):
        return None
    scale, bias, mean, var = (v.astype(np.float64) for v in values)
    spread = var + float(node.attrs.get("epsilon", 1e-5))
    if not (spread > 0).all():
        return None
    factor = scale / np.sqrt(spread)
    return _Affine(factor, bias - mean * factor)


def _refusal(node: gs.Node) -> str:
    if node.attrs.get("training_mode", 0):
        return "it is in training mode"
    if not node.attrs.get("spatial", 1):
        return "it has one scale per position (spatial=0)"
    return "its running statistics are outputs" if any(t.outputs for t in node.outputs[1:]) else ""


def _why(node: gs.Node, holding: set[str]) -> str:
    reason = _refusal(node)
    if reason:
        return reason
    if any(array(t) is None for t in node.inputs[1:5]):
        return "its scale or statistics are not constant"
    before = producer(node.inputs[0])
    if before is None:
        return "it reads a graph input, and what reads it cannot take it"
    if before.op not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return f"it follows {before.op} ({before.name}), which has no weights, and what reads it cannot take it"
    if only_consumer(node.inputs[0], holding) is None:
        return f"the output of {before.name} is read elsewhere too"
    return f"the weights of {before.name} are not constant, or would overflow"
