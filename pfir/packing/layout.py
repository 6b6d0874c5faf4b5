"""What a packed file says of itself: its directory, every number of which is checked before it is used."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pfir.errors import FrontendError
from pfir.ir.onnx_io.tensors import LARGEST_TENSOR_BYTES

MAGIC = b"\x89pfir\r\n\x1a"
"""How a packed file begins: no ONNX file does, and line ends that a transfer changed show at once."""
ALL, BITMAP, GAPS = "all", "bitmap", "gaps"
"""Which elements are kept: all, or those that are not zero, at the places that a bit or a gap each tells."""
PLAIN, PLANES, HALF, SMALL, PALETTE = "plain", "planes", "half", "small", "palette"
"""How they are kept: as they are, byte by byte, as float16, as int8, as indices of a palette, or one of these two."""
INTEGERS = {f"integers{bits}": bits for bits in range(2, 8)}
"""Bytes that are signed integers of so few bits, in a stream of their own: one table of frequencies suits them all."""
DIGITS = {f"digits{bits}": bits for bits in (3, 5, 6, 7)}
"""Bytes that are a stream of numbers of so many bits, the lowest first, as codebooks pack places: a byte for each."""
INDICES, REST = "indices", "rest"
SYMBOLS = frozenset((INDICES, SMALL, BITMAP, f"{PLAIN}1", *INTEGERS, *DIGITS))
"""Streams of small integers, for which rANS is tried: bytes of floats have one plane in four that compresses at all."""
_PLACE_BYTES = 16
WIDTHS = (1, 2, 4, 8)
MOST_BYTES = 1 << 32
"""Of all files of a packed model, and of all its streams."""
MOST_ENTRIES = 256
"""Of a palette: an index is a byte."""
SKIP = 255
"""A gap that says that so many zeros follow and no value behind them."""


@dataclass(frozen=True)
class Entry:
    """The values of one tensor.

    Args:
        count: Elements.
        width: Bytes of one.
        places: Which of them are kept: ALL, BITMAP or GAPS.
        values: How those are kept: PLAIN, PLANES, HALF, SMALL, PALETTE, or one of INTEGERS or DIGITS.
        kept: How many are kept.
        palette: Entries of the palette; 0 where there is none.
        gaps: Bytes that tell gaps.
        skipped: Bytes of the file between the tensor before and this one.
    """

    count: int
    width: int
    places: str
    values: str
    kept: int
    palette: int = 0
    gaps: int = 0
    skipped: int = 0

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor in its file."""
        return self.count * self.width

    def streams(self) -> dict[str, int]:
        """Bytes of this tensor in each stream."""
        width = self.width
        of_values = {
            PLAIN: {f"{PLAIN}{width}": self.kept * width},
            PLANES: {f"{PLANES}{width}.{plane}": self.kept for plane in range(width)},
            HALF: {f"{HALF}.{plane}": self.kept for plane in range(2)},
            SMALL: {SMALL: self.kept},
            PALETTE: {f"{PALETTE}{width}": self.palette * width, INDICES: self.kept},
            **{name: {name: self.kept} for name in INTEGERS},
            **{name: {name: 8 * self.kept // bits} for name, bits in DIGITS.items()},
        }[self.values]
        of_places = {ALL: {}, BITMAP: {BITMAP: (self.count + 7) // 8}, GAPS: {GAPS: self.gaps}}[self.places]
        return {**of_values, **of_places}

    def check(self) -> None:
        """Return only if the entry can be one of a packed file.

        Raises:
            FrontendError: It cannot.
        """
        whole = min(self.count, self.kept, self.palette, self.gaps, self.skipped) >= 0
        known = self.width in WIDTHS and self.places in (ALL, BITMAP, GAPS)
        wide = {4} if self.values in (HALF, SMALL) else {1} if self.values in (*INTEGERS, *DIGITS) else set(WIDTHS)
        known &= self.values in (PLAIN, PLANES, HALF, SMALL, PALETTE, *INTEGERS, *DIGITS) and self.width in wide
        known &= self.values not in DIGITS or (self.places == ALL and self.kept % DIGITS[self.values] == 0)
        fits = self.kept <= self.count and (self.places != ALL or self.kept == self.count)
        fits &= self.size_bytes <= LARGEST_TENSOR_BYTES and self.gaps <= self.kept + self.count // SKIP
        fits &= self.places != GAPS or few_enough(self.kept, self.size_bytes)
        if not (whole and known and fits and self.palette <= MOST_ENTRIES):
            raise _wrong("a tensor that cannot be")


def few_enough(kept: int, size_bytes: int) -> bool:
    """Whether gaps may tell the places of so many values: expanded, these take no more memory than the tensor."""
    return _PLACE_BYTES * kept <= size_bytes


@dataclass(frozen=True)
class PackedFile:
    """A file in a packed one.

    Args:
        name: Relative to the model's folder; empty for the model itself.
        size_bytes: Of the whole.
        crc32: Of the whole.
        entries: Its tensors, in their order.
    """

    name: str
    size_bytes: int
    crc32: int
    entries: tuple[Entry, ...]

    @property
    def rest_bytes(self) -> int:
        """Bytes that belong to no tensor."""
        return self.size_bytes - sum(e.size_bytes for e in self.entries)


@dataclass(frozen=True)
class Stream:
    """Where the bytes of one kind lie, of all tensors.

    Args:
        name: As `Entry.streams` has it, or REST for what belongs to no tensor.
        codec: How they are compressed.
        packed_bytes: How many there are in the file.
    """

    name: str
    codec: str
    packed_bytes: int


@dataclass(frozen=True)
class Directory:
    """What a packed file holds: files, and the streams in the order in which they stand behind the directory."""

    files: tuple[PackedFile, ...]
    streams: tuple[Stream, ...]

    def sizes(self) -> dict[str, int]:
        """Bytes of each stream, once it is expanded; empty ones are left out."""
        total = Counter({REST: sum(f.rest_bytes for f in self.files)})
        for entry in (e for f in self.files for e in f.entries):
            total.update(entry.streams())
        return {name: size for name, size in total.items() if size}

    def dump(self) -> bytes:
        """JSON, which `parse` reads."""
        files = [[f.name, f.size_bytes, f.crc32, [list(_row(e)) for e in f.entries]] for f in self.files]
        streams = [[s.name, s.codec, s.packed_bytes] for s in self.streams]
        return json.dumps({"files": files, "streams": streams}, separators=(",", ":")).encode()


def parse(text: bytes) -> Directory:
    """The directory that `dump` wrote, every size within its limits.

    Raises:
        FrontendError: It is none, or contradicts itself.
    """
    try:
        content = json.loads(text)
        files = tuple(PackedFile(name, size, crc, _entries(rows)) for name, size, crc, rows in content["files"])
        directory = Directory(files, tuple(Stream(*row) for row in content["streams"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _wrong("no list of files and streams") from None
    _check(directory)
    return directory


def _row(entry: Entry) -> tuple[int | str, ...]:
    e = entry
    return e.skipped, e.count, e.width, e.places, e.values, e.kept, e.palette, e.gaps


def _entries(rows: Iterable[list]) -> tuple[Entry, ...]:  # type: ignore[type-arg]
    return tuple(
        Entry(count, width, places, values, kept, palette, gaps, skipped)
        for skipped, count, width, places, values, kept, palette, gaps in rows
    )


def _check(directory: Directory) -> None:
    for file in directory.files:
        _check_types((file.name,), (file.size_bytes, file.crc32))
        for e in file.entries:
            _check_types((e.places, e.values), (e.count, e.width, e.kept, e.palette, e.gaps, e.skipped))
            e.check()
        taken = sum(e.size_bytes + e.skipped for e in file.entries)
        if not taken <= file.size_bytes <= MOST_BYTES:
            raise _wrong("a file larger than it can be")
    for s in directory.streams:
        _check_types((s.name, s.codec), (s.packed_bytes,))
    _check_whole(directory)


def _check_types(texts: Iterable[object], numbers: Iterable[object]) -> None:
    if not (all(type(t) is str for t in texts) and all(type(n) is int for n in numbers)):
        raise _wrong("a value of another type")


def _check_whole(directory: Directory) -> None:
    if not directory.files or directory.files[0].name or sum(f.size_bytes for f in directory.files) > MOST_BYTES:
        raise _wrong("no model, or more than 4 GiB")
    if len({f.name for f in directory.files}) < len(directory.files):
        raise _wrong("two files of one name")
    names = [s.name for s in directory.streams]
    sizes = directory.sizes()
    if sorted(names) != sorted(sizes) or any(s.packed_bytes < 0 for s in directory.streams):
        raise _wrong("other streams than its tensors need")
    if sum(sizes.values()) > MOST_BYTES:
        raise _wrong("more than 4 GiB of streams")


def _wrong(found: str) -> FrontendError:
    return FrontendError(f"its directory is damaged: it has {found}")
