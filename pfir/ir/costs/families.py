"""The families of kernels: what each has of a convolution."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CostFamily:
    """Kernels of a kind.

    Args:
        name: As `Kernel` has it.
        convolution: Whether it is a convolution, which a border before it joins.
        epilogue: Whether it multiplies, so that it is the first choice of the element-wise nodes behind it.
    """

    name: str
    convolution: bool = False
    epilogue: bool = False


FAMILIES = (
    CostFamily("conv", convolution=True, epilogue=True),
    CostFamily("conv3x3", convolution=True, epilogue=True),
    CostFamily("depthwise", convolution=True, epilogue=True),
    CostFamily("grouped", convolution=True, epilogue=True),
    CostFamily("dense", epilogue=True),
    CostFamily("matmul", epilogue=True),
    CostFamily("pool"),
    CostFamily("reduce"),
    CostFamily("elementwise"),
    CostFamily("move"),
)
