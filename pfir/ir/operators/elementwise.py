"""Operators that make each number from the numbers at the same position."""

# ruff: noqa: SIM905  (a list of operators reads best as words)
from __future__ import annotations

UNARY = tuple(
    "Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Ceil Celu Clip Cos Cosh Elu Erf Exp Floor Gelu "
    "HardSigmoid HardSwish IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin "
    "Sinh Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu".split()
)
"""Operators of one tensor; what else they read are scalars."""

N_ARY = tuple(
    "Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min "
    "Mod Mul Or PRelu Pow Sub Sum Where Xor".split()
)
"""Operators of several tensors, which broadcast to one shape."""
