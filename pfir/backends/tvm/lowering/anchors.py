"""ONNX operators that head a kernel: what each one hands to its generator."""

from __future__ import annotations

from collections.abc import Callable

from pfir.backends.tvm.lowering.anchor import Anchor, Values, scalar
from pfir.backends.tvm.lowering.convolutions import conv
from pfir.backends.tvm.lowering.fuse import Group, is_float
from pfir.backends.tvm.lowering.pools import pool, reduce
from pfir.backends.tvm.lowering.products import gemm, matmul
from pfir.backends.tvm.lowering.transposed import conv_transpose
from pfir.backends.tvm.lowering.values import Program


def anchor(program: Program, group: Group, value: Values) -> Anchor | None:
    """What the kernel of a group's first node computes, or None where no generator of ours covers it."""
    node = group.head
    make = ANCHORS.get(node.op)
    if make is None or scalar(node) or not is_float(node.inputs[0]):
        return None
    return make(program, group, value)


ANCHORS: dict[str, Callable[[Program, Group, Values], Anchor | None]] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "MatMul": matmul,
    "MaxPool": pool("max"),
    "AveragePool": pool("average"),
    "GlobalAveragePool": reduce("mean"),
    "GlobalMaxPool": reduce("max"),
    "ReduceMean": reduce("mean"),
    "ReduceSum": reduce("sum"),
    "ReduceMax": reduce("max"),
    "ReduceMin": reduce("min"),
}
BY_ELEMENT = tuple(op for op in ANCHORS if op == "Conv" or "Pool" in op or op.startswith("Reduce"))
"""Those some of whose kernels read element by element, and so take integers that stand for floats."""
