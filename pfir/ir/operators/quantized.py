"""Operators that read or make integers which stand for other numbers."""

from __future__ import annotations

from pfir.ir.operators.records import MICROSOFT, ONNX, Form, Integers, Operator, Weight

_BOTH = (ONNX, MICROSOFT)
# The data and the weight with their scale and zero point behind each.
_DATA_AND_WEIGHT = {0: Integers(1, 2), 3: Integers(4, 5)}
_STEPS = {0: Integers(None, 2), 1: Integers(None, 3)}


def _unary(name: str, form: Form) -> Operator:
    """An operator of one input: x with its scale and zero point, then those of the result."""
    return Operator(name, form, (MICROSOFT,), integers={0: Integers(1, 2)}, result=Integers(3, 4))


def _binary(name: str) -> Operator:
    """An operator of two inputs: a and b with scale and zero point each, then those of the result."""
    return Operator(name, Form.ELEMENTWISE, (MICROSOFT,), integers=_DATA_AND_WEIGHT, result=Integers(6, 7))


QUANTIZED = (
    Operator("QuantizeLinear", Form.ELEMENTWISE, _BOTH, result=Integers(1, 2)),
    Operator("DequantizeLinear", Form.ELEMENTWISE, _BOTH, integers={0: Integers(1, 2)}),
    # Sums stay integers of 32 bits.
    Operator("ConvInteger", Form.CONVOLUTION, weight=Weight(1, outputs=0, inputs=1), integers=_STEPS),
    Operator("MatMulInteger", Form.MATMUL, weight=Weight(1, outputs=-1, inputs=-2), integers=_STEPS),
    # Sums become integers of eight bits; a bias counts in steps of both scales' product.
    Operator(
        "QLinearConv",
        Form.CONVOLUTION,
        _BOTH,
        weight=Weight(3, outputs=0, inputs=1),
        bias=8,
        integers=_DATA_AND_WEIGHT,
        result=Integers(6, 7),
    ),
    Operator(
        "QLinearMatMul",
        Form.MATMUL,
        weight=Weight(3, outputs=-1, inputs=-2),
        integers=_DATA_AND_WEIGHT,
        result=Integers(6, 7),
    ),
    # Without a scale of the result it makes floats.
    Operator(
        "QGemm",
        Form.GEMM,
        (MICROSOFT,),
        weight=Weight(3, outputs=1, inputs=0, turned_by="transB"),
        bias=6,
        scaled_by="alpha",
        integers=_DATA_AND_WEIGHT,
        result=Integers(7, 8),
    ),
    # Sums become floats, so the bias is one of floats.
    Operator(
        "MatMulIntegerToFloat",
        Form.MATMUL,
        (MICROSOFT,),
        weight=Weight(1, outputs=-1, inputs=-2),
        bias=6,
        integers={0: Integers(2, 4), 1: Integers(3, 5)},
    ),
    # The data comes as floats, and is quantized in the range of the run.
    Operator(
        "DynamicQuantizeMatMul",
        Form.MATMUL,
        (MICROSOFT,),
        weight=Weight(1, outputs=-1, inputs=-2),
        bias=4,
        integers={1: Integers(2, 3)},
    ),
    Operator(
        "QAttention",
        Form.ATTENTION,
        (MICROSOFT,),
        weight=Weight(1, outputs=1, inputs=0),
        bias=2,
        integers={0: Integers(3, 6), 1: Integers(4, 7)},
    ),
    _binary("QLinearAdd"),
    _binary("QLinearMul"),
    _unary("QLinearLeakyRelu", Form.ELEMENTWISE),
    _unary("QLinearSigmoid", Form.ELEMENTWISE),
    _unary("QLinearAveragePool", Form.POOL),
    _unary("QLinearGlobalAveragePool", Form.POOL),
    # Scale and zero point of the result, then each part with its own behind it.
    Operator("QLinearConcat", Form.CONCAT, (MICROSOFT,), data=2, result=Integers(0, 1)),
)
