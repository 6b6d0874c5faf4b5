"""Damage to bytes, as cut-off downloads, bad disks and ill will make it."""

from __future__ import annotations

import numpy as np

from benchmarks.fuzz.case import pick

_NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 65535, 2**31 - 1, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63))


def damaged(rng: np.random.Generator, content: bytes, most: int = 4) -> bytes:
    """The content after one to `most` accidents."""
    found = bytearray(content)
    for _ in range(int(rng.integers(1, most + 1))):
        if not found:
            break
        pick(rng, _ACCIDENTS)(rng, found)
    return bytes(found)


def _flip(rng: np.random.Generator, data: bytearray) -> None:
    for at in rng.integers(len(data), size=int(rng.integers(1, 5))):
        data[at] ^= 1 << int(rng.integers(8))


def _overwrite(rng: np.random.Generator, data: bytearray) -> None:
    at, count = _range(rng, data, 16)
    data[at : at + count] = rng.bytes(count)


def _number(rng: np.random.Generator, data: bytearray) -> None:
    width = pick(rng, (1, 2, 4, 8))
    at = int(rng.integers(len(data)))
    data[at : at + width] = (pick(rng, _NUMBERS) % 256**width).to_bytes(width, pick(rng, ("little", "big")))


def _delete(rng: np.random.Generator, data: bytearray) -> None:
    at, count = _range(rng, data, 64)
    del data[at : at + count]


def _repeat(rng: np.random.Generator, data: bytearray) -> None:
    at, count = _range(rng, data, 64)
    data[at:at] = data[at : at + count] * int(rng.integers(1, 4))


def _insert(rng: np.random.Generator, data: bytearray) -> None:
    at = int(rng.integers(len(data) + 1))
    data[at:at] = rng.bytes(int(rng.integers(1, 16)))


def _cut(rng: np.random.Generator, data: bytearray) -> None:
    del data[int(rng.integers(len(data))) :]


def _zero(rng: np.random.Generator, data: bytearray) -> None:
    at, count = _range(rng, data, max(1, len(data) // 2))
    data[at : at + count] = bytes(count)


def _exchange(rng: np.random.Generator, data: bytearray) -> None:
    at, count = _range(rng, data, 32)
    other = int(rng.integers(len(data)))
    data[at : at + count], data[other : other + count] = data[other : other + count], data[at : at + count]


def _range(rng: np.random.Generator, data: bytearray, most: int) -> tuple[int, int]:
    return int(rng.integers(len(data))), int(rng.integers(1, most + 1))


_ACCIDENTS = (_flip, _flip, _overwrite, _number, _number, _delete, _repeat, _insert, _cut, _zero, _exchange)
