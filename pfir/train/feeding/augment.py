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
    channels_last = images.shape[3] < images.shape[1]
    height, width = images.shape[1:3] if channels_last else images.shape[2:4]
    rows, columns = (_sources(view.shifts[:, i], size) for i, size in enumerate((height, width)))
    columns[view.mirrored] = columns[view.mirrored, ::-1]
    sample = np.arange(len(images))[:, None, None]
    if channels_last:
        return images[sample, rows[:, :, None], columns[:, None, :]]
    moved = images.transpose(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]]
    return np.ascontiguousarray(moved.transpose(0, 3, 1, 2))


def _sources(shifts: np.ndarray, size: int) -> np.ndarray:
    """Where each position of an axis is read from, `[N, size]`: a shift, clamped to the image."""
    most = max(1, round(size * SHARE))
    whole = np.floor((shifts + 1) / 2 * (2 * most + 1)).astype(np.int64) - most
    return np.clip(np.arange(size)[None, :] + whole[:, None], 0, size - 1)
