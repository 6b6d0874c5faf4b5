"""Nodes that make integers of eight bits from floats, or floats from those."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends.tvm.lowering.form import EIGHT_BITS, Quantization
from pfir.ir.edit import STANDARD_DOMAINS, array, operand
from pfir.ir.operators.records import MICROSOFT
from pfir.target import SINGLE

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def quantization_of(node: gs.Node) -> Quantization | None:
    """What the integers stand for that a node makes or reads; None of a node that does neither, and where they are not
    of eight bits or have no single constant scale and zero point."""
    if node.op not in (QUANTIZE, DEQUANTIZE) or node.domain not in (*STANDARD_DOMAINS, MICROSOFT):
        return None
    integers, floats = (node.outputs[0], node.inputs[0]) if node.op == QUANTIZE else (node.inputs[0], node.outputs[0])
    scale, zero = array(node.inputs[1]), operand(node, 2)
    if type_of(integers) not in EIGHT_BITS or type_of(floats) != SINGLE or scale is None or scale.size != 1:
        return None
    if zero is not None and (array(zero) is None or array(zero).size != 1):
        return None
    point = 0 if zero is None else int(array(zero).reshape(-1)[0])
    return Quantization(float(scale.reshape(-1)[0]), point)


def type_of(tensor: gs.Tensor) -> str:
    """NumPy's name of its elements' type; "" where it is not known."""
    return "" if tensor.dtype is None else np.dtype(tensor.dtype).name
