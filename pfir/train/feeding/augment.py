"""Random flips and crops of image batches, in the space of the model's input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# 4 of 32 pixels, as for CIFAR in He et al., "Deep Residual Learning", arXiv:1512.03385, section 4.2.
SHARE = 1 / 8


@dataclass(frozen=True)
class View:
    """How each sample is moved.

    Args:
        mirrored: bool [N].
        shifts: [N, 2] in [-1, 1), down and to the right, in units of the largest shift.
    """

    mirrored: np.ndarray
    shifts: np.ndarray

    def of(self, indices: np.ndarray) -> View:
        """The same for some of the samples."""
        return View(self.mirrored[indices], self.shifts[indices])


def draw(random: np.random.Generator, count: int) -> View:
    """A random view of each of `count` samples."""
    return View(random.random(count) < 0.5, random.uniform(-1, 1, (count, 2)))


def flip_crop(images: np.ndarray, view: View) -> np.ndarray:
    """Each image mirrored or not, then moved by up to an eighth of its size; its border pixels fill the gap.

    Args:
        images: `[N, C, H, W]` or `[N, H, W, C]` (the smaller of the second and the last size is C); not changed.
        view: Of N samples.
    """
    last = images.shape[3] < images.shape[1]
    rows = 1 if last else 2
    most = [max(1, round(size * SHARE)) for size in images.shape[rows : rows + 2]]
    starts = [np.floor((view.shifts[:, i] + 1) / 2 * (2 * m + 1)).astype(np.int64) for i, m in enumerate(most)]
    around = [(0, 0)] * 4
    around[rows : rows + 2] = [(m, m) for m in most]
    padded = np.pad(images, around, "edge")
    result = np.empty_like(images, order="C")
    for i, (down, right, mirrored) in enumerate(zip(*starts, view.mirrored, strict=True)):
        taken = _window(padded[i], rows - 1, (down, right), images.shape[rows : rows + 2])
        result[i] = np.flip(taken, rows) if mirrored else taken
    return result


def _window(image: np.ndarray, rows: int, starts: tuple[int, int], sizes: tuple[int, ...]) -> np.ndarray:
    """A part of an image `[C, H, W]` or `[H, W, C]`, whose axis of rows is given; nothing is copied."""
    parts = [slice(None)] * 3
    parts[rows : rows + 2] = [slice(at, at + size) for at, size in zip(starts, sizes, strict=True)]
    return image[tuple(parts)]
