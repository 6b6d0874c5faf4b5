"""Which operators ONNX Runtime training 1.19 differentiates on the CPU, as measured by finite differences."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from pfir.ir.edit import operand
from pfir.ir.operators.table import operator_of

DIFFERENTIABLE = frozenset(
    {
        "Relu",
        "LeakyRelu",
        "Sigmoid",
        "Tanh",
        "Erf",
        "Exp",
        "Log",
        "Sqrt",
        "Abs",
        "Neg",
        "Reciprocal",
        "Sin",
        "Cos",
        "Clip",
        "Gelu",
        "Softmax",
        "LogSoftmax",
        "Where",
        "Cast",
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Max",
        "Min",
        "Pow",
        "Conv",
        "MatMul",
        "Gemm",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "ReduceMean",
        "ReduceSum",
        "ReduceL2",
        "ReduceLogSumExp",
        "TopK",
        "BatchNormalization",
        "LayerNormalization",
        "SoftmaxCrossEntropyLoss",
        "Concat",
        "Split",
        "Slice",
        "Gather",
        "GatherElements",
        "GatherND",
        "ScatterElements",
        "ScatterND",
        "Transpose",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Expand",
        "Tile",
        "Pad",
        "Trilu",
        "Identity",
        "LSTM",
        "GRU",
        # Straight through: its own gradient is zero wherever it has one.
        "Round",
    }
)

# Operators whose output does not depend on the values that they read, so no gradient has to pass.
NO_VALUES = frozenset(
    {
        "Shape",
        "Size",
        "ConstantOfShape",
        "Greater",
        "Less",
        "GreaterOrEqual",
        "LessOrEqual",
        "Equal",
        "Not",
        "And",
        "Or",
    }
)

REASONS = {
    "Pow": "its exponent is not a constant",
    "Pad": "only constant padding has a gradient",
    "ConvTranspose": "its sizes or paddings could not be rewritten as a convolution",
    "Resize": "its sizes, mode or region could not be rewritten as matrix products",
    "LSTM": "sequence_lens has no gradient",
    "GRU": "sequence_lens has no gradient",
}


def differentiable(node: gs.Node) -> bool:
    """Whether gradients pass through this node (or need not)."""
    if node.op in NO_VALUES:
        return True
    if node.domain not in (None, "", "ai.onnx") or node.op not in DIFFERENTIABLE:
        return False
    if node.op == "Pow":
        return isinstance(node.inputs[1], gs.Constant)
    if node.op == "Pad":
        return node.attrs.get("mode", "constant") == "constant"
    operator = operator_of(node)
    return operator is None or operator.cell is None or operand(node, operator.cell.lengths) is None
