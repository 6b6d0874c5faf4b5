"""Content that carries its checksum, so that damage shows when it is read."""

from __future__ import annotations

import hashlib


def sealed(content: bytes, *others: bytes) -> bytes:
    """The content behind a line with the SHA-256 of it and of whatever else belongs to it."""
    return _digest(content, *others) + b"\n" + content


def opened(kept: bytes, *others: bytes) -> bytes | None:
    """The content of what `sealed` gave; None where that or one of the others is no longer what it was."""
    digest, _, content = kept.partition(b"\n")
    return content if digest == _digest(content, *others) else None


def _digest(*parts: bytes) -> bytes:
    """Of all parts; each by its own digest, so that nothing may move from one into the next."""
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest().encode()
