"""Random flips and crops of image batches, in the space of the model's input."""

from __future__ import annotations

import numpy as np

# 4 of 32 pixels, as for CIFAR in He et al., "Deep Residual Learning", arXiv:1512.03385, section 4.2.
SHARE = 1 / 8


def flip_crop(images: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Each image mirrored or not, then moved by up to an eighth of its size; its border pixels fill the gap.

    Args:
        images: `[N, C, H, W]` or `[N, H, W, C]` (the smaller of the second and the last size is C); not changed.
        random: Draws the flips and shifts.
    """
    channels_last = images.shape[3] < images.shape[1]
    height, width = images.shape[1:3] if channels_last else images.shape[2:4]
    mirrored = random.random(len(images)) < 0.5
    rows = _sources(random, len(images), height)
    columns = _sources(random, len(images), width)
    columns[mirrored] = columns[mirrored, ::-1]
    sample = np.arange(len(images))[:, None, None]
    if channels_last:
        return images[sample, rows[:, :, None], columns[:, None, :]]
    moved = images.transpose(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]]
    return np.ascontiguousarray(moved.transpose(0, 3, 1, 2))


def _sources(random: np.random.Generator, count: int, size: int) -> np.ndarray:
    """Where each position of an axis is read from, `[count, size]`: a shift, clamped to the image."""
    most = max(1, round(size * SHARE))
    shifts = random.integers(-most, most + 1, count)
    return np.clip(np.arange(size)[None, :] + shifts[:, None], 0, size - 1)
