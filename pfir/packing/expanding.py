"""Values of tensors out of streams: those of one form all at once, then each tensor its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from pfir.errors import FrontendError
from pfir.packing.digits import joined
from pfir.packing.layout import (
    ALL,
    BITMAP,
    DIGITS,
    GAPS,
    HALF,
    INDICES,
    INTEGERS,
    PALETTE,
    PLAIN,
    PLANES,
    SKIP,
    SMALL,
    Directory,
    Entry,
)


class Expander:
    """Gives the values of one tensor after the other, in the order of the directory.

    Args:
        directory: What there is.
        streams: By name, of the sizes that the directory asks for.
    """

    def __init__(self, directory: Directory, streams: Mapping[str, bytes]) -> None:
        self._streams = {name: np.frombuffer(content, np.uint8) for name, content in streams.items()}
        self._taken: Counter[str] = Counter()
        forms = {(e.values, e.width): e for f in directory.files for e in f.entries}
        self._values = {form: self._together(entry) for form, entry in forms.items()}

    def values(self, entry: Entry) -> memoryview:
        """The bytes of the next tensor.

        Raises:
            FrontendError: Its places or indices are impossible.
        """
        kept = self._next(_shared(entry), self._values[entry.values, entry.width], entry.kept)
        if entry.values == PALETTE:
            kept = self._looked_up(entry, kept)
        if entry.places != ALL:
            kept = self._placed(entry, kept)
        return kept.view(np.uint8).data

    def _next(self, name: str, values: np.ndarray, count: int) -> np.ndarray:
        start = self._taken[name]
        self._taken[name] += count
        return values[start : start + count]

    def _stream(self, name: str) -> np.ndarray:
        return self._streams.get(name, np.empty(0, np.uint8))

    def _together(self, entry: Entry) -> np.ndarray:
        """The kept values of all tensors of this one's form; those of palettes are indices yet."""
        if entry.values == PLAIN:
            return self._stream(f"{PLAIN}{entry.width}").view(f"<u{entry.width}")
        if entry.values == PLANES:
            return self._interleaved(f"{PLANES}{entry.width}", entry.width)
        if entry.values == HALF:
            return self._interleaved(HALF, 2).view("<f2").astype("<f4").view("<u4")
        if entry.values == SMALL:
            return self._stream(SMALL).view("<i1").astype("<f4").view("<u4")
        if entry.values in INTEGERS:
            return self._stream(entry.values)
        if entry.values in DIGITS:
            return joined(self._stream(entry.values), DIGITS[entry.values])
        return self._stream(INDICES)

    def _interleaved(self, name: str, width: int) -> np.ndarray:
        planes = [self._stream(f"{name}.{plane}") for plane in range(width)]
        found = np.empty((len(planes[0]), width), np.uint8)
        for plane, content in enumerate(planes):
            found[:, plane] = content
        together: np.ndarray = found.reshape(-1).view(f"<u{width}")
        return together

    def _looked_up(self, entry: Entry, indices: np.ndarray) -> np.ndarray:
        palettes = self._stream(f"{PALETTE}{entry.width}").view(f"<u{entry.width}")
        palette = self._next(f"{PALETTE}{entry.width}", palettes, entry.palette)
        if len(indices) and int(indices.max()) >= len(palette):
            raise FrontendError("an index of it lies beyond its palette")
        found: np.ndarray = palette[indices]
        return found

    def _placed(self, entry: Entry, kept: np.ndarray) -> np.ndarray:
        there = self._mapped(entry) if entry.places == BITMAP else self._spaced(entry)
        if np.count_nonzero(there) != len(kept):
            raise _IMPOSSIBLE
        found = np.zeros(entry.count, f"<u{entry.width}")
        found[there] = kept
        return found

    def _mapped(self, entry: Entry) -> np.ndarray:
        bits = self._next(BITMAP, self._stream(BITMAP), (entry.count + 7) // 8)
        return np.unpackbits(bits, count=entry.count).view(bool)

    def _spaced(self, entry: Entry) -> np.ndarray:
        gaps = self._next(GAPS, self._stream(GAPS), entry.gaps)
        ends = gaps != SKIP
        places = (np.cumsum(gaps, dtype=np.int64) + np.cumsum(ends))[ends] - 1
        if len(places) and int(places[-1]) >= entry.count:
            raise _IMPOSSIBLE
        there = np.zeros(entry.count, bool)
        there[places] = True
        return there


def _shared(entry: Entry) -> str:
    """What an entry's values lie in together: indices of all widths in one stream, other values by their width."""
    return INDICES if entry.values == PALETTE else f"{entry.values}{entry.width}"


_IMPOSSIBLE = FrontendError("the places of its values are impossible")
