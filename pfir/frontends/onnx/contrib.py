"""Which inputs the operators of ONNX Runtime cannot do without: onnx.checker knows none of them."""

from __future__ import annotations

from onnx import NodeProto

# The last of each is that of ONNX Runtime 1.19.2, which a test asks for it; which ones before it may be left out stands
# in its docs/ContribOperators.md.
_REQUIRED: dict[str, tuple[int, ...]] = {
    "Attention": (0, 1),
    "BiasDropout": (0, 1),
    "BiasGelu": (0, 1),
    "BiasSoftmax": (0, 1),
    "BiasSplitGelu": (0, 1),
    "CDist": (0, 1),
    "ConvTransposeWithDynamicPads": (0, 1),
    "CropAndResize": (0, 1, 2, 3),
    "DequantizeLinear": (0, 1),
    "DynamicQuantizeLSTM": (0, 1, 2, 8, 9, 10, 11),
    "DynamicQuantizeMatMul": (0, 1, 2),
    "EmbedLayerNormalization": (0, 2, 3, 5, 6),
    "ExpandDims": (0, 1),
    "FusedConv": (0, 1),
    "FusedGemm": (0, 1),
    "FusedMatMul": (0, 1),
    "FusedMatMulActivation": (0, 1),
    "GatherND": (0, 1),
    "GemmFastGelu": (0, 1),
    "GridSample": (0, 1),
    "GroupNorm": (0, 1, 2),
    "GroupQueryAttention": (0, 5, 6),
    "MatMulBnb4": (0, 1, 2),
    "MatMulFpQ4": (0, 1, 2),
    "MatMulInteger16": (0, 1),
    "MatMulIntegerToFloat": (0, 1, 2, 3),
    "MatMulNBits": (0, 1, 2),
    "MaxpoolWithMask": (0, 1),
    "MulInteger": (0, 2),
    "Pad": (0, 1),
    "QAttention": (0, 1, 2, 3, 4),
    "QGemm": (0, 1, 2, 3, 4, 5),
    "QLinearAdd": (0, 1, 3, 4, 6),
    "QLinearAveragePool": (0, 1, 3),
    "QLinearConcat": (0, 1, 2),
    "QLinearConv": (0, 1, 2, 3, 4, 5, 6, 7),
    "QLinearGlobalAveragePool": (0, 1, 2, 3, 4),
    "QLinearLeakyRelu": (0, 1, 3),
    "QLinearMul": (0, 1, 3, 4, 6),
    "QLinearReduceMean": (0, 1, 3),
    "QLinearSigmoid": (0, 1, 3),
    "QLinearSoftmax": (0, 1, 3, 4),
    "QLinearWhere": (0, 1, 2, 3, 4, 5, 6, 7, 8),
    "QuantizeLinear": (0, 1),
    "RotaryEmbedding": (0, 1, 2, 3),
    "SkipGroupNorm": (0, 1, 2, 3),
    "SkipLayerNormalization": (0, 1, 2),
    "SkipSimplifiedLayerNormalization": (0, 1, 2),
    "SparseToDenseMatMul": (0, 1),
    "TransposeMatMul": (0, 1),
    "WordConvEmbedding": (0, 1, 2, 3),
}
_FROM_NOTHING = frozenset(("Random", "RandomNormal", "RandomUniform"))


def missing_input(node: NodeProto) -> int | None:
    """The place of the first input that an operator of ONNX Runtime lacks and needs; an unknown one needs the first."""
    if node.op_type in _FROM_NOTHING:
        return None
    places = _REQUIRED.get(node.op_type, (0,))
    return next((place for place in places if place >= len(node.input) or not node.input[place]), None)
