"""Bytes as a stream of numbers of few bits, the lowest bits first, and back."""

from __future__ import annotations

import numpy as np


def digits(content: np.ndarray, bits: int) -> np.ndarray:
    """The numbers of so many bits each, uint8 [8 N / bits].

    Args:
        content: uint8 [N], N a multiple of the bits.
        bits: 1 to 8.
    """
    each = np.unpackbits(content, bitorder="little").reshape(-1, bits)
    return np.packbits(each, axis=1, bitorder="little").ravel()


def joined(numbers: np.ndarray, bits: int) -> np.ndarray:
    """The bytes of which `digits` made these numbers; bits beyond a number's own are left out."""
    return np.packbits(np.unpackbits(numbers[:, None], axis=1, count=bits, bitorder="little"), bitorder="little")
