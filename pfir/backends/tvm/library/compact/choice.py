"""Which form a constant is linked in: what a byte of the library is worth against time at load."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pfir.backends.tvm.library.compact.forms import Coded, Dense, Kernels, LinkedForm, Sparse
from pfir.backends.tvm.lowering.values import Transformed
from pfir.target import Target

PLAIN = 0.0
"""Seconds for a byte of a library that is to be loaded in the shortest time, wherever it is read from."""
READ = 1 / 90e6
"""Seconds that reading a byte takes, from an SD card of class UHS-I at 90 MB/s, about the most that boards get."""
SMALLEST = 1.0
"""Seconds for a byte of a library that is to be small, whatever it takes to load."""

_LARGEST_BOOK = 256
_LOOK_AT = 4096  # values, of which more than a book holds tell that the rest need not be looked at
_INTEGERS = {1: np.uint8, 2: np.uint16, 4: np.uint32}


@dataclass(frozen=True)
class Price:
    """Prices of forms.

    Args:
        target: On which libraries are loaded.
        byte_s: Seconds that a byte of the library is worth.
    """

    target: Target
    byte_s: float

    def seconds(self, form: LinkedForm) -> float:
        """How long its expansion takes."""
        core = self.target.core
        return core.costs.cycles(form.instructions) / core.clock_hz

    def of(self, form: LinkedForm) -> float:
        """Seconds, those that its bytes are worth included."""
        return self.byte_s * form.size_bytes + self.seconds(form)


def cheapest(array: np.ndarray, price: Price, transformed: Transformed | None = None) -> LinkedForm:
    """The cheapest form of a constant.

    Args:
        array: As kernels read it.
        transformed: What it was computed of, where that is known.
    """
    return min(forms_of(array, price, transformed), key=price.of)


def forms_of(array: np.ndarray, price: Price, transformed: Transformed | None = None) -> Iterator[LinkedForm]:
    """All forms of a constant, as for `cheapest`; what is within another one is the cheapest."""
    yield Dense(array)
    if array.itemsize not in _INTEGERS or not array.size:
        return
    values = np.ascontiguousarray(array).reshape(-1).view(_INTEGERS[array.itemsize])
    yield from coded(values)
    yield from _sparse(values, price)
    if transformed is not None:
        blocks, _, *sizes = transformed.kernels.shape
        kernels = cheapest(transformed.kernels, price)
        yield Kernels(kernels, transformed.outputs, transformed.points.dtype.name, blocks, int(np.prod(sizes)))


def coded(values: np.ndarray) -> Iterator[Coded]:
    """The places of the values in a book, if there are few enough different ones; values are integers of their bits."""
    if len(np.unique(values[:_LOOK_AT])) > _LARGEST_BOOK:
        return
    book = np.unique(values)
    bits = max(1, (len(book) - 1).bit_length())
    if bits >= 8 * values.itemsize or len(book) > _LARGEST_BOOK:
        return
    places = np.searchsorted(book, values).astype(np.uint8)
    digits = places[:, None] >> np.arange(bits, dtype=np.uint8) & 1
    yield Coded(np.packbits(digits, bitorder="little"), book, bits, len(values))


def _sparse(values: np.ndarray, price: Price) -> Iterator[Sparse]:
    """Without its zeros, if leaving them out saves more than a bit a value."""
    kept = values[values != 0]
    if 8 * values.itemsize * (len(values) - len(kept)) > len(values):
        bitmap = np.packbits(values != 0, bitorder="little")
        form = min([Dense(kept), *coded(kept)], key=price.of)
        yield Sparse(bitmap, form, values.itemsize, len(values), len(kept))
