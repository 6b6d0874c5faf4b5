"""The forms in which a tensor's values may be kept, each of which gives back every bit of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pfir.packing import codecs
from pfir.packing.digits import digits
from pfir.packing.layout import (
    ALL,
    BITMAP,
    DIGITS,
    GAPS,
    HALF,
    INDICES,
    INTEGERS,
    MOST_ENTRIES,
    PALETTE,
    PLAIN,
    PLANES,
    SKIP,
    SMALL,
    SYMBOLS,
    Entry,
    few_enough,
)

_WORTH_PLACES = 1 / 16
"""Share of zeros from which on it is tried to leave them out."""
_LOOKED_AT = 4096
_MOST_DIGITS = 1 << 26

_Parts = Mapping[str, bytes]


@dataclass(frozen=True)
class Kept:
    """Values in a form.

    Args:
        entry: What the directory says of them.
        parts: What is added to each stream.
    """

    entry: Entry
    parts: _Parts

    @property
    def size(self) -> int:
        """About how many bytes it compresses to."""
        return _size(self.parts)


def smallest(elements: np.ndarray) -> Kept:
    """The form that compresses to the fewest bytes.

    Args:
        elements: The bits of each element, as an unsigned integer of its width.
    """
    return min(_forms(elements), key=lambda kept: kept.size)


def _forms(elements: np.ndarray) -> Iterator[Kept]:
    count, width = len(elements), elements.itemsize
    for values, palette, parts in _values(elements):
        yield Kept(Entry(count, width, ALL, values, count, palette), parts)
    for name, bits in DIGITS.items():
        if width == 1 and count % bits == 0 and count <= _MOST_DIGITS:
            yield Kept(Entry(count, width, ALL, name, count), {name: digits(elements, bits).tobytes()})
    there = elements != 0
    number = int(np.count_nonzero(there))
    if count - number < _WORTH_PLACES * count:
        return
    values, palette, parts = min(_values(elements[there]), key=lambda found: _size(found[2]))
    yield Kept(Entry(count, width, BITMAP, values, number, palette), {**parts, BITMAP: np.packbits(there).tobytes()})
    if few_enough(number, elements.nbytes):
        gaps = _gaps(there)
        yield Kept(Entry(count, width, GAPS, values, number, palette, len(gaps)), {**parts, GAPS: gaps})


def _size(parts: _Parts) -> int:
    return sum(codecs.estimated_size(part, name in SYMBOLS) for name, part in parts.items())


def _values(elements: np.ndarray) -> Iterator[tuple[str, int, _Parts]]:
    """Each form of values that can hold these: its name, the entries of its palette, and its parts."""
    width = elements.itemsize
    plain = _of_few_bits(elements) or f"{PLAIN}{width}"
    yield plain if plain in INTEGERS else PLAIN, 0, {plain: elements.tobytes()}
    if width > 1:
        yield PLANES, 0, _planes(f"{PLANES}{width}", elements)
    if width == 4 and (half := _exactly(elements, "<f2")) is not None:
        yield HALF, 0, _planes(HALF, half)
    if width == 4 and (small := _exactly(elements, "<i1")) is not None:
        yield SMALL, 0, {SMALL: small.tobytes()}
    if (found := _palette(elements)) is not None:
        entries, indices = found
        yield PALETTE, len(entries), {f"{PALETTE}{width}": entries.tobytes(), INDICES: indices.tobytes()}


def _of_few_bits(elements: np.ndarray) -> str | None:
    """The name of the integers of the fewest bits that these bytes are; None of others."""
    if elements.itemsize > 1 or not elements.size:
        return None
    signed = elements.view(np.int8)
    most = max(int(signed.max()), -int(signed.min()) - 1)
    return next((name for name, bits in INTEGERS.items() if most < 1 << (bits - 1)), None)


def _planes(name: str, elements: np.ndarray) -> dict[str, bytes]:
    """The first bytes of all elements, then the second ones, and so on: exponents beside exponents."""
    table = elements.view(np.uint8).reshape(-1, elements.itemsize)
    return {f"{name}.{plane}": table[:, plane].tobytes() for plane in range(elements.itemsize)}


def _exactly(elements: np.ndarray, dtype: str) -> np.ndarray | None:
    """Float32 elements in another type; None where that would change a bit of one."""
    with np.errstate(all="ignore"):
        floats = elements.view("<f4")
        converted = floats.astype(dtype)
        same = np.array_equal(converted.astype("<f4").view("<u4"), elements)
    return converted if same else None


def _palette(elements: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The different elements, and the place of each element among them; None where there are too many."""
    if len(np.unique(elements[:_LOOKED_AT])) > MOST_ENTRIES:
        return None
    entries, indices = np.unique(elements, return_inverse=True)
    return (entries, indices.astype(np.uint8)) if len(entries) <= MOST_ENTRIES else None


def _gaps(there: np.ndarray) -> bytes:
    """How many zeros stand before each value, in bytes."""
    gaps = np.diff(np.flatnonzero(there), prepend=-1) - 1
    ends = np.cumsum(gaps // SKIP + 1) - 1
    found = np.full(int(ends[-1]) + 1 if len(ends) else 0, SKIP, np.uint8)
    found[ends] = gaps % SKIP
    return found.tobytes()
