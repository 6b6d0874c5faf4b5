"""Many arrays in one flat float32 buffer, so that an optimizer's step is a handful of vector operations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

# 64 bytes: what AVX-512 loads at once.
_ALIGN = 16


class FlatBuffer:
    """A flat buffer and a view of it per name.

    Args:
        arrays: Initial values by name; copied.

    Attributes:
        flat: float32 [size]; padding between the arrays stays zero.
        views: Name to a view of `flat` in the array's own shape.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        starts, size = {}, 0
        for name, array in arrays.items():
            starts[name] = size
            size += -(-array.size // _ALIGN) * _ALIGN
        self.flat = _aligned(size)
        self.views = {n: self.flat[starts[n] : starts[n] + a.size].reshape(a.shape) for n, a in arrays.items()}
        for name, array in arrays.items():
            self.views[name][...] = array

    def mask(self, chosen: Mapping[str, bool]) -> np.ndarray:
        """1.0 where the array of that name is chosen, else 0.0; float32 [size]."""
        result = np.zeros_like(self.flat)
        for name, place in self._places().items():
            result[place] = float(chosen[name])
        return result

    def named(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Copies of the parts of another flat array [size], by name in their shapes."""
        return {name: flat[place].reshape(self.views[name].shape).copy() for name, place in self._places().items()}

    def _places(self) -> dict[str, slice]:
        starts = {name: (view.ctypes.data - self.flat.ctypes.data) // 4 for name, view in self.views.items()}
        return {name: slice(start, start + self.views[name].size) for name, start in starts.items()}


def _aligned(size: int) -> np.ndarray:
    raw = np.zeros(size + _ALIGN, np.float32)
    shift = (-(raw.ctypes.data // 4)) % _ALIGN
    return raw[shift : shift + size]
