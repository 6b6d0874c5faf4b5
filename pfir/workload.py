"""What a kernel has to compute, before it is decided how."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from pfir.target import SINGLE

BLOCK_SHAPES = tuple((width, steps) for width in (4, 8, 16) for steps in (2, 4))
"""Outputs of a block of weights that may be skipped where all are zero, and inputs that a round of a kernel takes."""
UNIT_SHAPES = tuple((width, inputs) for width in (4, 8, 16) for inputs in (4, 8, 16))
"""Outputs and inputs, side by side, of a unit of integer weights that may be skipped where all are zero."""


@dataclass(frozen=True)
class Workload:
    """A convolution, depthwise convolution or matrix product with constant weights, or what has no weights.

    Args:
        family: conv, depthwise or product, of which there is a choice of schedules; elementwise, pool, reduce, softmax,
            norm, move or transpose.
        data: Sizes of its input in ONNX's order, of several the first; of a product `(rows, I)`.
        out: Sizes of its result in ONNX's order; of a product `(rows, O)`.
        order: The input's axes in memory order.
        kernel, strides, dilations, pads, spread: As the kernel's generator takes them; pads are those at the begin.
        group: Of a convolution.
        after: What kind of element-wise nodes follow, as `Tail.kind` says.
        dtype: What it is computed in.
        kind: Of pools `max` or `average`; of reductions `mean`, `sum`, `max` or `min`, or `range` where both and the
            integers in it are found; of moves ONNX's operator; of layers over integers `wide` where four products may
            not fit in 16 bits.
        into: The result's axes in memory order, where they are not the input's.
        parts: Of a Concat, the sizes of its inputs along the axis.
        zeros: Of a product the pattern of its weights' zeros, by name; empty where none are worth skipping.
        rounds: Of such a product, for each of `BLOCK_SHAPES`, the rounds over blocks that are not zero, all columns of
            blocks together; over integers, for each of `UNIT_SHAPES`, the units that are not zero. 0 where the sizes
            are no multiples.
    """

    family: str
    data: tuple[int, ...]
    out: tuple[int, ...]
    order: tuple[int, ...]
    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    spread: tuple[int, int] = (1, 1)
    group: int = 1
    after: str = "plain"
    dtype: str = SINGLE
    kind: str = ""
    into: tuple[int, ...] = ()
    parts: tuple[int, ...] = ()
    zeros: str = ""
    rounds: tuple[int, ...] = ()

    def __str__(self) -> str:
        """The text by which a database knows it: equal texts, equal work."""
        fields = {name: _times(getattr(self, name)) for name in ("kernel", "strides", "dilations", "pads", "spread")}
        usual = {"kernel": "1x1", "strides": "1x1", "dilations": "1x1", "pads": "0x0", "spread": "1x1"}
        said = [f"{name}={text}" for name, text in fields.items() if text != usual[name]]
        said += [f"group={self.group}"] if self.group != 1 else []
        said += [self.kind] if self.kind else []
        said += [f"zeros={self.zeros}"] if self.zeros else []
        order = "".join(str(axis) for axis in self.order)
        return " ".join(
            (self.family, self.dtype, f"{_times(self.data)}->{_times(self.out)}", f"order={order}", *said, self.after)
        )

    @property
    def channels(self) -> int:
        """Input channels that each output channel sums over."""
        return self.data[1] // self.group

    @property
    def macs(self) -> int:
        return prod(self.out) * self.channels * prod(self.kernel)


def _times(sizes: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in sizes)


@dataclass(frozen=True)
class Tail:
    """What a kernel does to its results, one by one, before it stores them.

    Args:
        bias: Whether its sums begin with a bias.
        operators: The element-wise nodes that follow, in order.
        reads: Tensors as large as the result that those read.
        constants: Constants of one value a channel that those read.
    """

    bias: bool = False
    operators: tuple[str, ...] = ()
    reads: int = 0
    constants: int = 0

    @property
    def kind(self) -> str:
        """How much it asks for: `reads` where another tensor is read, `computes` where there are exponentials, joined
        by a plus; `plain` where neither."""
        computes = any(operator in _FUNCTIONS for operator in self.operators)
        return "+".join(word for word, holds in (("reads", self.reads), ("computes", computes)) if holds) or "plain"


_FUNCTIONS = ("Sigmoid", "Tanh", "Exp", "Erf", "Gelu", "Elu", "Selu")
