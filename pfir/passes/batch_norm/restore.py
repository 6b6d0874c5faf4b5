"""BatchNormalization put back where an exporter folded it away, so that fine-tuning has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.batch_norm import batch_norm
from pfir.ir.costs.symbolic_cost import CONTRACTIONS
from pfir.ir.edit import Names, held, insert_after
from pfir.ir.linear_edits import EditableLayer, editable_layer
from pfir.ir.model import Model
from pfir.ir.operators.records import Form
from pfir.ir.operators.table import has_form
from pfir.ir.shapes import infer_shapes
from pfir.passes.base import Change, Context, Pass
from pfir.passes.batch_norm.channel_statistics import channel_statistics, usable

EPSILON = 1e-5
SMALLEST_NORM = 1e-3


@dataclass(frozen=True)
class RestoreBatchNorm(Pass):
    """Put a BatchNormalization behind every convolution and Gemm that has none, without changing the function.

    Rewrite, with mean m and variance v of W x over the calibration data::

        W x + b  ->  BN(V x; mean=m, var=v, scale=|W| sqrt(v + epsilon), bias=|W| m + b),  V = W / |W|

    |W| is the L2 norm of each output channel's weights. Behind a BatchNormalization only their direction counts, so a
    step of the same rate turns short weights further than long ones; what folding left behind differs tenfold from
    layer to layer. With unit norms one rate suits all layers.

    Layers whose outputs reach a graph output without another layer between (heads) stay. FoldBatchNorm undoes it.

    Raises:
        UsageError: The context has no activations.
        DataError: The calibration data holds nothing, or gives values that are not finite.
    """

    name: ClassVar[str] = "restore-batch-norm"

    def apply(self, model: Model, context: Context) -> Change:
        if context.activations is None:
            raise UsageError("restore-batch-norm needs calibration data: give --data")
        infer_shapes(model)
        layers = _bare_layers(model.graph)
        if not layers:
            return Change(False)
        statistics = channel_statistics(model, context.activations, [x.node.outputs[0] for x in layers])
        for layer in layers:
            _insert(model.graph, layer, *statistics[layer.node.outputs[0].name])
        infer_shapes(model)
        return Change(True, (f"restored: {len(layers)}",))


def _bare_layers(graph: gs.Graph) -> list[EditableLayer]:
    holding, names = held(graph), Names(graph)
    layers = [editable_layer(graph, n, names, holding) for n in graph.nodes if not has_form(n, Form.MATMUL)]
    return [x for x in layers if x is not None and not _has_batch_norm(x.node) and not _is_head(x.node, holding)]


def _has_batch_norm(node: gs.Node) -> bool:
    return any(batch_norm(reader) is not None for reader in node.outputs[0].outputs)


def _is_head(node: gs.Node, holding: set[str]) -> bool:
    """Whether the layer's output reaches a graph output, or a graph inside, with no other layer between."""
    waiting, seen = list(node.outputs), set()
    while waiting:
        tensor = waiting.pop()
        if tensor.name in holding:
            return True
        if tensor.name in seen:
            continue
        seen.add(tensor.name)
        waiting += [t for n in tensor.outputs if n.op not in CONTRACTIONS for t in n.outputs]
    return False


def _insert(graph: gs.Graph, layer: EditableLayer, mean: np.ndarray, variance: np.ndarray) -> None:
    node, bias, dtype, variance = layer.node, layer.bias(), layer.weight.dtype, usable(variance)
    base = node.name or node.outputs[0].name
    result = node.outputs[0]
    # The layer's own name stays with the value that it had; the value without bias is new.
    plain = gs.Variable(layer.names.fresh(f"{result.name}_plain"), result.dtype, result.shape)
    layer.set_bias(None)
    node.outputs = [plain]
    norms = _unit(layer)
    # `mean` was measured with the bias, so the statistics of W x are mean - bias, and m + b is `mean` itself.
    own = variance / norms**2
    values = {"scale": norms * np.sqrt(own + EPSILON), "bias": mean, "mean": (mean - bias) / norms, "var": own}
    constants = [gs.Constant(layer.names.fresh(f"{base}.bn.{k}"), v.astype(dtype)) for k, v in values.items()]
    name = layer.names.fresh(f"{base}.bn")
    norm = gs.Node("BatchNormalization", name, {"epsilon": EPSILON}, [plain, *constants], [result])
    insert_after(graph, node, norm)


def _unit(layer: EditableLayer) -> np.ndarray:
    """Give the weights of each output channel unit norm; [C], what they were divided by (1 for those near zero)."""
    norms = layer.output_norms()
    norms = np.where(norms > SMALLEST_NORM, norms, 1.0)
    return norms if layer.scale_outputs(1 / norms, np.zeros(1)) else np.ones_like(norms)
