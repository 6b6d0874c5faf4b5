"""What a tail costs: the instructions of element-wise nodes on one vector of results."""

from __future__ import annotations

from functools import lru_cache

from pfir.backends.tvm.lowering.expressions import IN_HALF
from pfir.instructions import Instructions
from pfir.target import HALF, SINGLE
from pfir.workload import Tail

# Multiply-adds, and other vector instructions, of an element-wise node on a vector of float32, counted in the emulator;
# a constant that a multiply-add begins with is copied first. What is not here takes one instruction.
_OPERATIONS: dict[str, tuple[int, int]] = {
    "Identity": (0, 0),
    "Dropout": (0, 0),
    "Clip": (0, 2),
    "LeakyRelu": (0, 3),
    "PRelu": (1, 2),
    "Abs": (0, 3),
    "Max": (0, 2),
    "Min": (0, 2),
    "ThresholdedRelu": (0, 2),
    "Softsign": (0, 5),
    "HardSigmoid": (1, 3),
    "HardSwish": (1, 4),
    "Sigmoid": (11, 17),
    "Tanh": (14, 25),
    "Exp": (10, 15),
    "Erf": (17, 30),
    "Gelu": (17, 34),
    "Elu": (11, 17),
    "Selu": (11, 19),
}
_SUMS = ("Add", "Sub", "Sum")
# Of these LLVM sees that float16 gives the same result.
_NARROWED = ("Div", "Reciprocal", "Floor", "Ceil")
_CONVERSIONS = 2  # of a vector of float16 into two of float32, and as many back


@lru_cache(maxsize=4096)
def tail_of_vector(tail: Tail, vector_bytes: int, dtype: str = SINGLE) -> Instructions:
    """The instructions of the nodes behind a kernel's sums on one vector of them, without storing it.

    A bias is not among them: sums begin with it. Nor are the loads of constants of one value a channel, which several
    vectors may share.

    Args:
        vector_bytes: Of the vector.
        dtype: Of the results. Of float16, what is not exact enough is computed as two vectors of float32.
    """
    reads = Instructions(load=tail.reads, load_bytes=tail.reads * vector_bytes)
    multiply, vector = _operations(tail.operators)
    if dtype != HALF:
        return Instructions(multiply=multiply, vector=vector) + reads
    if all(operator in IN_HALF or operator in _NARROWED for operator in tail.operators):
        return Instructions(half=multiply, vector=vector) + reads
    conversions = _CONVERSIONS * (2 + tail.reads + tail.constants)
    return Instructions(multiply=2 * multiply, vector=2 * vector + conversions) + reads


def _operations(operators: tuple[str, ...]) -> tuple[int, int]:
    """Multiply-adds and others; a sum of a product is one multiply-add."""
    multiply = vector = 0
    for before, operator in zip(("", *operators), operators, strict=False):
        if before == "Mul" and operator in _SUMS:
            multiply, vector = multiply + 1, vector - 1
            continue
        more = _OPERATIONS.get(operator, (0, 1))
        multiply, vector = multiply + more[0], vector + more[1]
    return multiply, vector


def constants_of(tail: Tail) -> int:
    """Registers that hold what a tail's operators compute with, beside its operands."""
    return sum(_CONSTANTS.get(operator, 0) for operator in tail.operators)


_CONSTANTS = {"Relu": 1, "Clip": 2, "LeakyRelu": 2, "HardSigmoid": 4, "HardSwish": 4, "Sigmoid": 16, "Tanh": 20}
