"""The rules as a table, operator by operator; what is not in it pins what it touches."""

from __future__ import annotations

from collections.abc import Callable

from pfir.ir.coupling.op import Op
from pfir.ir.coupling.rules import (
    contraction,
    elementwise,
    indexing,
    integers,
    layout,
    microsoft,
    normalization,
    reduction,
    reshape,
    selection,
)
from pfir.ir.operators.elementwise import N_ARY, UNARY

Rule = Callable[[Op], None]

_POOLS = ("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool")
_REDUCTIONS = (
    "ArgMax ArgMin ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
    "ReduceSumSquare"
)

ONNX: dict[str, Rule] = {
    # Sums over channels.
    "Conv": contraction.conv,
    "ConvInteger": integers.quantized_conv,
    "ConvTranspose": contraction.conv_transpose,
    "Einsum": contraction.einsum,
    "Gemm": contraction.gemm,
    "GRU": contraction.recurrent,
    "LSTM": contraction.recurrent,
    "MatMul": contraction.matmul,
    "MatMulInteger": integers.quantized_matmul,
    "QLinearConv": integers.quantized_conv,
    "QLinearMatMul": integers.quantized_matmul,
    "RNN": contraction.recurrent,
    # Position by position.
    **dict.fromkeys(UNARY, elementwise.same),
    **dict.fromkeys(N_ARY, elementwise.elementwise),
    "Cast": elementwise.carry,
    "CastLike": elementwise.like,
    "CumSum": elementwise.running_sum,
    "DequantizeLinear": elementwise.quantize,
    "Dropout": elementwise.dropout,
    "DynamicQuantizeLinear": integers.dynamic_quantize,
    "Identity": elementwise.carry,
    "QuantizeLinear": elementwise.quantize,
    # Normalisation.
    "BatchNormalization": normalization.batch_norm,
    "GroupNormalization": normalization.group_norm,
    "Hardmax": normalization.softmax,
    "InstanceNormalization": normalization.instance_norm,
    "LRN": normalization.local_response_norm,
    "LayerNormalization": normalization.layer_norm,
    "LogSoftmax": normalization.softmax,
    "LpNormalization": normalization.lp_norm,
    "MeanVarianceNormalization": normalization.mean_variance_norm,
    "RMSNormalization": normalization.layer_norm,
    "Softmax": normalization.softmax,
    # Space and reductions.
    **dict.fromkeys(_POOLS, reduction.pool),
    **dict.fromkeys(_REDUCTIONS.split(), reduction.reduce),
    "Resize": reduction.resize,
    "Upsample": reduction.resize,
    # Layout.
    "Col2Im": layout.columns_to_image,
    "DepthToSpace": layout.depth_to_space,
    "Flatten": reshape.flatten,
    "Reshape": reshape.reshape,
    "Shape": layout.shape,
    "SpaceToDepth": layout.space_to_depth,
    "Squeeze": layout.squeeze,
    "Transpose": layout.transpose,
    "Unsqueeze": layout.unsqueeze,
    # Joining, cutting, picking, padding, repeating.
    "Concat": selection.concat,
    "ConstantOfShape": selection.constant_of_shape,
    "Expand": selection.expand,
    "Gather": selection.gather,
    "Pad": selection.pad,
    "Slice": selection.slice_,
    "Split": selection.split,
    "Tile": selection.tile,
    # By numbers of a run.
    "Compress": indexing.compress,
    "GatherElements": indexing.gather_elements,
    "GatherND": indexing.gather_nd,
    "GridSample": indexing.sample,
    "MaxRoiPool": indexing.sample,
    "MaxUnpool": reduction.unpool,
    "ReverseSequence": indexing.reverse_sequence,
    "RoiAlign": indexing.sample,
    "Scatter": indexing.scatter_elements,
    "ScatterElements": indexing.scatter_elements,
    "ScatterND": indexing.scatter_nd,
    "TopK": indexing.top_k,
    "Trilu": indexing.triangle,
}

MICROSOFT: dict[str, Rule] = {
    "Attention": microsoft.attention,
    "BiasGelu": elementwise.elementwise,
    "DynamicQuantizeLSTM": integers.recurrent_quantizing,
    "DynamicQuantizeMatMul": integers.matmul_quantizing,
    "FastGelu": elementwise.elementwise,
    "FusedConv": microsoft.fused_conv,
    "FusedGemm": contraction.gemm,
    "FusedMatMul": microsoft.fused_matmul,
    "Gelu": elementwise.same,
    "MatMulIntegerToFloat": integers.quantized_matmul,
    "MultiHeadAttention": microsoft.multi_head_attention,
    "QAttention": microsoft.quantized_attention,
    "QGemm": integers.quantized_gemm,
    "QLinearAdd": integers.quantized_sum,
    "QLinearAveragePool": integers.quantized_pool,
    "QLinearConcat": integers.quantized_concat,
    "QLinearConv": integers.quantized_conv,
    "QLinearGlobalAveragePool": integers.quantized_pool,
    "QLinearLeakyRelu": integers.quantized_unary,
    "QLinearMul": integers.quantized_sum,
    "QLinearSigmoid": integers.quantized_unary,
    "QuickGelu": elementwise.same,
    "SkipLayerNormalization": microsoft.skip_layer_norm,
    "SkipSimplifiedLayerNormalization": microsoft.skip_layer_norm,
}


def rule_for(op: Op) -> Rule | None:
    """The rule of a node's operator; None if it is in no table."""
    domain = op.node.domain or ""
    if domain in ("", "ai.onnx"):
        return ONNX.get(op.kind)
    return MICROSOFT.get(op.kind) if domain == "com.microsoft" else None
