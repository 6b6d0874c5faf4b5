"""What a kernel is, as data: two kernels with equal specifications are the same code."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

Number = int | float
EIGHT_BITS = ("int8", "uint8")


@dataclass(frozen=True)
class Quantization:
    """What integers stand for: `scale * (integer - zero_point)`."""

    scale: float
    zero_point: int = 0


@dataclass(frozen=True)
class Form:
    """How a tensor lies in memory.

    Args:
        shape: Its sizes in ONNX's axis order.
        order: Memory axis i holds ONNX axis `order[i]`; `(0, 2, 3, 1)` is NHWC.
        dtype: NumPy's name of the element type.
        quantization: What its integers stand for, where they are read as floats; None where each is read as it is.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    dtype: str = "float32"
    quantization: Quantization | None = None

    @property
    def memory(self) -> tuple[int, ...]:
        """The sizes in memory order."""
        return tuple(self.shape[axis] for axis in self.order)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def read_as(self) -> str:
        """The type of its elements as they are read."""
        return self.dtype if self.quantization is None else "float32"


def plain(shape: tuple[int, ...], dtype: str = "float32") -> Form:
    """A tensor in ONNX's own axis order."""
    return Form(tuple(shape), tuple(range(len(shape))), dtype)


def channels_last(shape: tuple[int, ...], dtype: str = "float32") -> Form:
    """A tensor `[N, C, *k]` with its channels innermost; others in their own order."""
    rank = len(shape)
    return Form(tuple(shape), (0, *range(2, rank), 1), dtype) if rank > 2 else plain(shape, dtype)


def same_memory(form: Form, other: Form) -> bool:
    """Whether the two place every element alike, as the same type, for the same numbers: axes of size 1 do not
    count."""

    def walk(f: Form) -> list[int]:
        return [axis for axis in f.order if f.shape[axis] != 1]

    alike = form.dtype == other.dtype and form.quantization == other.quantization
    return alike and form.shape == other.shape and walk(form) == walk(other)


@dataclass(frozen=True)
class Step:
    """One element-wise operation behind a kernel's main computation.

    Args:
        op: ONNX's operator name.
        attributes: Its attributes, sorted by name.
        arguments: Where each argument comes from: `("main", 0)`, `("step", i)`, `("operand", j)` or `("number", x)`.
    """

    op: str
    attributes: tuple[tuple[str, Any], ...]
    arguments: tuple[tuple[str, Number], ...]


@dataclass(frozen=True)
class KernelSpec:
    """Everything that decides a kernel's code.

    Args:
        family: Which generator makes it.
        attributes: What the generator needs to know, sorted by name.
        operands: The generator's operands, then those of the steps.
        own: How many operands are the generator's.
        steps: What follows element by element.
        out: The result.
        dtype: What it computes in, where it computes: other floats that it reads are converted first.
    """

    family: str
    attributes: tuple[tuple[str, Any], ...]
    operands: tuple[Form, ...]
    own: int
    steps: tuple[Step, ...]
    out: Form
    dtype: str = "float32"

    def __getitem__(self, name: str) -> Any:
        return dict(self.attributes)[name]
