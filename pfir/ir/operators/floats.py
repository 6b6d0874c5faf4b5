"""Operators on floats that have weights, factors or tables."""

from __future__ import annotations

from pfir.ir.operators.records import MICROSOFT, Form, Operator, Weight

_CONVOLUTION = Weight(1, outputs=0, inputs=1)
_PRODUCT = Weight(1, outputs=-1, inputs=-2)
_MATRIX = Weight(1, outputs=1, inputs=0, turned_by="transB")

FLOATS = (
    Operator("Conv", Form.CONVOLUTION, weight=_CONVOLUTION, bias=2),
    Operator("ConvTranspose", Form.TRANSPOSED_CONVOLUTION, weight=Weight(1, outputs=1, inputs=0), bias=2),
    Operator("Gemm", Form.GEMM, weight=_MATRIX, bias=2, scaled_by="alpha", bias_scaled_by="beta"),
    Operator("MatMul", Form.MATMUL, weight=_PRODUCT),
    Operator("Einsum", Form.EINSUM),
    # ONNX Runtime's, which its graph optimizer writes.
    Operator("FusedConv", Form.CONVOLUTION, (MICROSOFT,), weight=_CONVOLUTION, bias=2),
    Operator("FusedGemm", Form.GEMM, (MICROSOFT,), weight=_MATRIX, bias=2, scaled_by="alpha", bias_scaled_by="beta"),
    Operator("FusedMatMul", Form.MATMUL, (MICROSOFT,), weight=Weight(1, -1, -2, turned_by="transB"), scaled_by="alpha"),
    # [N, K / block, bytes of a block]: both sizes stand in attributes.
    Operator("MatMulNBits", Form.PACKED_MATMUL, (MICROSOFT,), weight=Weight(1, outputs=0, inputs=1)),
    # The output channels are those of queries, keys and values, one after another.
    Operator("Attention", Form.ATTENTION, (MICROSOFT,), weight=Weight(1, outputs=1, inputs=0), bias=2),
    # Scale and shift of channels, and statistics.
    Operator("BatchNormalization", Form.NORMALIZATION, factors=(1, 2), statistics=(3, 4), channel_axis=1),
    Operator("InstanceNormalization", Form.NORMALIZATION, factors=(1, 2), channel_axis=1),
    Operator("GroupNormalization", Form.NORMALIZATION, factors=(1, 2)),
    Operator("LayerNormalization", Form.NORMALIZATION, factors=(1, 2)),
    Operator("PRelu", Form.ELEMENTWISE, factors=(1,)),
    # Tables.
    Operator("Gather", Form.LOOKUP, tables=(0,)),
    Operator("GatherElements", Form.LOOKUP, tables=(0,)),
    Operator("GatherND", Form.LOOKUP, tables=(0,)),
    Operator("EmbedLayerNormalization", Form.LOOKUP, (MICROSOFT,), tables=(2, 3, 4)),
)
