"""Digits of a small base in bytes: as many in each as fit, then Huffman's code of these bytes."""

from __future__ import annotations

import zlib

import numpy as np


def digits_per_byte(base: int) -> int:
    """How many digits a byte holds: 5 of base 3."""
    count = 1
    while base ** (count + 1) <= 256:
        count += 1
    return count


def packed(digits: np.ndarray, base: int) -> bytes:
    """The digits, 0 <= digit < base <= 256, as bytes.

    Most digits of a sparse gradient are the middle one, so bytes differ in how often they come, and Huffman's code
    makes them a third shorter (gradients of ResNet-20); looking for repetitions costs time and finds none.
    """
    width = digits_per_byte(base)
    padded = np.zeros(-(-len(digits) // width) * width, np.uint8)
    padded[: len(digits)] = digits
    columns = padded.reshape(-1, width)
    whole = columns[:, 0].copy()
    for column in columns.T[1:]:
        whole *= np.uint8(base % 256)
        whole += column
    return _huffman(whole.tobytes())


def unpacked(content: bytes, count: int, base: int) -> np.ndarray:
    """The first `count` digits of what `packed` made, uint8 [count]."""
    width = digits_per_byte(base)
    return _table(base, width)[np.frombuffer(zlib.decompress(content, -zlib.MAX_WBITS), np.uint8)].reshape(-1)[:count]


def _huffman(content: bytes) -> bytes:
    coder = zlib.compressobj(level=1, wbits=-zlib.MAX_WBITS, strategy=zlib.Z_HUFFMAN_ONLY)
    return coder.compress(content) + coder.flush()


def _table(base: int, width: int) -> np.ndarray:
    """The digits of every byte, uint8 [256, width]."""
    places = base ** np.arange(width - 1, -1, -1)
    return (np.arange(256)[:, None] // places % base).astype(np.uint8)
