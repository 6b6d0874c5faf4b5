"""The bytes of a symbol in an object file of ELF."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_WIDE = 2  # the class of files with 64 bits
_SYMBOLS = 2  # the type of sections that hold symbols


@dataclass(frozen=True)
class _Layout:
    """The layout of headers, sections and symbols, of files of 32 or 64 bits."""

    sections: struct.Struct
    at: int
    counts_at: int
    section: struct.Struct
    symbol: struct.Struct


# Of a section: name, type, flags, address, offset, size, link; of a symbol: name and, in this order or another, value,
# size and section.
_64 = _Layout(struct.Struct("<Q"), 0x28, 0x3A, struct.Struct("<IIQQQQI"), struct.Struct("<IBBHQQ"))
_32 = _Layout(struct.Struct("<I"), 0x20, 0x2E, struct.Struct("<IIIIIII"), struct.Struct("<IIIBBH"))


def symbol_bytes(content: bytes, name: str) -> bytes | None:
    """The bytes of a symbol in a little-endian object file; None where it has no such symbol."""
    layout = _64 if content[4] == _WIDE else _32
    sections = _sections(content, layout)
    for kind, offset, size, link in sections:
        if kind == _SYMBOLS:
            for at in range(offset, offset + size, layout.symbol.size):
                named, value, length, section = _symbol(content, layout, at)
                if _text(content, sections[link][1] + named) == name:
                    start = sections[section][1] + value
                    return content[start : start + length]
    return None


def _sections(content: bytes, layout: _Layout) -> list[tuple[int, int, int, int]]:
    """Type, offset, size and link of each."""
    (first,) = layout.sections.unpack_from(content, layout.at)
    step, count = struct.unpack_from("<HH", content, layout.counts_at)
    found = (layout.section.unpack_from(content, first + i * step) for i in range(count))
    return [(kind, offset, size, link) for _, kind, _, _, offset, size, link in found]


def _symbol(content: bytes, layout: _Layout, at: int) -> tuple[int, int, int, int]:
    """Name, value, size and section."""
    if layout is _64:
        name, _, _, section, value, size = layout.symbol.unpack_from(content, at)
    else:
        name, value, size, _, _, section = layout.symbol.unpack_from(content, at)
    return name, value, size, section


def _text(content: bytes, at: int) -> str:
    return content[at : content.index(b"\0", at)].decode()
