"""How the bytes of a stream are compressed: as they are, by zstd, or by rANS where that is clearly smaller."""

from __future__ import annotations

import zstandard

from pfir.errors import FrontendError
from pfir.packing import rans

STORED, ZSTD, RANS = "stored", "zstd", "rans"
LEVEL = 19
QUICK = 3
"""The level by which forms are compared, and by which is seen whether a stream compresses at all."""
WINS = 0.95
"""rANS must give at most this share of zstd's bytes: it is slower to read."""
_STAYS = 0.99
_MOST_RANS_BYTES = 1 << 28


def estimated_size(content: bytes, symbols: bool) -> int:
    """About how many bytes the content compresses to, told quickly enough to compare forms by."""
    if not content:
        return 0
    quick = _quick_size(content)
    entropy = rans.estimated_size(content) if symbols else quick
    return entropy if entropy < WINS * quick else quick


def compress(content: bytes, symbols: bool) -> tuple[str, bytes]:
    """The codec that was chosen, and the compressed content.

    Args:
        content: Not empty.
        symbols: Whether each byte stands for itself, so that rANS is tried.
    """
    if _quick_size(content) > _STAYS * len(content):
        return STORED, content
    best = zstd(content)
    if symbols and len(content) <= _MOST_RANS_BYTES:
        coded = rans.encode(content)
        if len(coded) <= WINS * len(best):
            return RANS, coded
    return ZSTD, best


def _quick_size(content: bytes) -> int:
    return min(len(content), len(_compressed(content, QUICK)))


def zstd(content: bytes) -> bytes:
    """The content as one frame of zstd."""
    return _compressed(content, LEVEL)


def decompress(codec: str, packed: bytes, size: int) -> bytes:
    """The content, of which `size` bytes are expected; no more is ever made.

    Raises:
        FrontendError: The packed bytes are damaged, or hold another number of bytes.
    """
    if codec == STORED and len(packed) == size:
        return packed
    if codec == ZSTD:
        return _expanded(packed, size)
    if codec == RANS:
        return rans.decode(packed, size)
    raise _wrong(size)


def _compressed(content: bytes, level: int) -> bytes:
    return zstandard.ZstdCompressor(level=level).compress(content)


def _expanded(packed: bytes, size: int) -> bytes:
    """The content of one frame of zstd. What it says of its size is what its reader allocates, so that comes first."""
    try:
        if zstandard.frame_content_size(packed) != size:
            raise _wrong(size)
        found = zstandard.ZstdDecompressor().decompress(packed, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError:
        raise _wrong(size) from None
    if len(found) != size:
        raise _wrong(size)
    return found


def _wrong(size: int) -> FrontendError:
    return FrontendError(f"a stream of {size} bytes is damaged")
