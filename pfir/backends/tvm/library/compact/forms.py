"""The forms in which a constant may be linked, each with what its expansion executes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from pfir.instructions import NOTHING, Instructions

_VECTOR = 16  # bytes that a copy loads and stores at a time
_WORD = 4  # bytes


class LinkedForm(ABC):
    """A constant as it is linked."""

    @property
    @abstractmethod
    def size_bytes(self) -> int:
        """Bytes that the form takes in a library."""

    @property
    @abstractmethod
    def expanded_bytes(self) -> int:
        """Bytes of the constant, as kernels read it."""

    @property
    @abstractmethod
    def instructions(self) -> Instructions:
        """Instructions of 64-bit Arm that make the constant of it when the library is loaded, as they were counted."""


@dataclass(frozen=True, eq=False)
class Dense(LinkedForm):
    """All bytes, as kernels read them."""

    array: np.ndarray

    @property
    def size_bytes(self) -> int:
        return int(self.array.nbytes)

    @property
    def expanded_bytes(self) -> int:
        return self.size_bytes

    @property
    def instructions(self) -> Instructions:
        moves, bytes_ = self.size_bytes / _VECTOR, self.size_bytes
        return Instructions(load=moves, load_bytes=bytes_, store=moves, store_bytes=bytes_, scalar=moves, branch=moves)


@dataclass(frozen=True, eq=False)
class Coded(LinkedForm):
    """The place of each value in a book of at most 256.

    Args:
        codes: Places, eight in `bits` bytes, the first in the lowest bits.
        book: The values, integers of their bits.
        bits: Of a code, 1 to 8.
        count: Values of the constant.
    """

    codes: np.ndarray
    book: np.ndarray
    bits: int
    count: int

    @property
    def size_bytes(self) -> int:
        return int(self.codes.nbytes + self.book.nbytes)

    @property
    def expanded_bytes(self) -> int:
        return self.count * self.book.itemsize

    @property
    def instructions(self) -> Instructions:
        width = self.book.itemsize
        store = 0.5 if width == _WORD else 1  # two words by one instruction
        each = Instructions(load=1.13, load_bytes=1 + width, store=store, store_bytes=width, scalar=1.5, branch=0.13)
        return each * self.count


@dataclass(frozen=True, eq=False)
class Sparse(LinkedForm):
    """A bit for each value that tells whether it is anything but zero, and those that are.

    Args:
        bitmap: The first value's bit is the lowest.
        values: Those that are not zero.
        width: Bytes of a value.
        count: Values of the constant, zeros included.
        kept: Values that are not zero.
    """

    bitmap: np.ndarray
    values: LinkedForm
    width: int
    count: int
    kept: int

    @property
    def size_bytes(self) -> int:
        return int(self.bitmap.nbytes) + self.values.size_bytes

    @property
    def expanded_bytes(self) -> int:
        return self.count * self.width

    @property
    def instructions(self) -> Instructions:
        vectors = self.width / _VECTOR
        cleared = Instructions(store=vectors, store_bytes=self.width, scalar=vectors, branch=vectors) * self.count
        eighths = Instructions(load=1, load_bytes=1, scalar=3.6, branch=2.5) * len(self.bitmap)
        values = Instructions(load=1, load_bytes=self.width, store=1, store_bytes=self.width, scalar=4.1, branch=1.13)
        return cleared + eighths + values * self.kept + _made(self.values)


@dataclass(frozen=True, eq=False)
class Kernels(LinkedForm):
    """Kernels of 3x3 whose points by Winograd's transforms the constant is.

    Args:
        kernels: `[O/b, 9, I, b]` float32 or int8.
        outputs: m, for `(m + 2)^2` points.
        dtype: Of the points: float32, float16 or int16.
        blocks, size: O/b, and I * b.
    """

    kernels: LinkedForm
    outputs: int
    dtype: str
    blocks: int
    size: int

    @property
    def size_bytes(self) -> int:
        return self.kernels.size_bytes

    @property
    def expanded_bytes(self) -> int:
        return self.blocks * (self.outputs + 2) ** 2 * self.size * np.dtype(self.dtype).itemsize

    @property
    def instructions(self) -> Instructions:
        return _OF_A_KERNEL[self.outputs, self.dtype] * (self.blocks * self.size) + _made(self.kernels)

    @property
    def function(self) -> str:
        """Of `expand.c`."""
        return f"points_{self.outputs}_{self.dtype}"


def _made(form: LinkedForm) -> Instructions:
    """What makes the input of another expansion, which reads dense bytes where they are."""
    return NOTHING if isinstance(form, Dense) else form.instructions


_OF_A_KERNEL: dict[tuple[int, str], Instructions] = {
    (2, "float32"): Instructions(vector=41.5, load=2.3, load_bytes=36, store=4, store_bytes=64, scalar=1, branch=0.3),
    (2, "float16"): Instructions(vector=45.5, load=2.3, load_bytes=36, store=4, store_bytes=32, scalar=1, branch=0.3),
    (2, "int16"): Instructions(vector=11, load=1.1, load_bytes=9, store=2, store_bytes=32, scalar=0.5, branch=0.1),
    (4, "float32"): Instructions(vector=207, load=27, load_bytes=180, store=46, store_bytes=288, scalar=25, branch=7),
    (4, "float16"): Instructions(vector=243, load=27, load_bytes=180, store=46, store_bytes=216, scalar=25, branch=7),
    (4, "int16"): Instructions(
        widening=6.3, vector=36.4, load=2, load_bytes=28, store=5.3, store_bytes=91, scalar=0.5, branch=0.1
    ),
}
"""By m and the type of points: what the points of one kernel take."""
