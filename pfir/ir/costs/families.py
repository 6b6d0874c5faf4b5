"""The families that kernels are costed by: what each has of a convolution, and how near it comes to the core's peak."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CostFamily:
    """Kernels that cost alike.

    Args:
        name: As `Kernel` has it.
        share: Share of what a 3x3 convolution reaches of the core's peak; from GFLOP/s of our kernels on one x86 core
            (3x3 112, 1x1 110, depthwise 34-88, dense 47 of 118). A grouped convolution fills registers no better than a
            depthwise one.
        tiled: Whether channels are vectorised over the register tile of a matrix product.
        convolution: Whether it is a convolution, which a border before it joins.
        epilogue: Whether it multiplies, so that it is the first choice of the element-wise nodes behind it.
    """

    name: str
    share: float
    tiled: bool = False
    convolution: bool = False
    epilogue: bool = False


FAMILIES = (
    CostFamily("conv", 1.0, tiled=True, convolution=True, epilogue=True),
    CostFamily("conv3x3", 1.0, tiled=True, convolution=True, epilogue=True),
    CostFamily("depthwise", 0.5, convolution=True, epilogue=True),
    CostFamily("grouped", 0.5, convolution=True, epilogue=True),
    CostFamily("dense", 0.45, epilogue=True),
    CostFamily("matmul", 0.8, tiled=True, epilogue=True),
    CostFamily("pool", 0.25),
    CostFamily("reduce", 0.25),
    CostFamily("elementwise", 0.25),
    CostFamily("move", 0.25),
)
