"""Random flips, crops, enlargements and mixtures of image batches, in the space of the model's input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# 4 of 32 pixels, as for CIFAR in He et al., "Deep Residual Learning", arXiv:1512.03385, section 4.2.
SHARE = 1 / 8
SMALLEST = 0.5
"""Side of what is enlarged, as a share of the image's: a quarter of its area."""


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


@dataclass(frozen=True)
class Cut:
    """Which part of each sample is enlarged.

    Args:
        mirrored: bool [N].
        sizes: [N, 2] in [SMALLEST, 1], height and width as shares of the image's.
        places: [N, 2] in [0, 1), from the top and from the left, as shares of what is left over.
    """

    mirrored: np.ndarray
    sizes: np.ndarray
    places: np.ndarray

    def of(self, indices: np.ndarray) -> Cut:
        """The same for some of the samples."""
        return Cut(self.mirrored[indices], self.sizes[indices], self.places[indices])


def draw_cuts(random: np.random.Generator, count: int) -> Cut:
    """A random part of each of `count` samples."""
    return Cut(random.random(count) < 0.5, random.uniform(SMALLEST, 1, (count, 2)), random.random((count, 2)))


def enlarge(images: np.ndarray, cut: Cut) -> np.ndarray:
    """A part of each image, mirrored or not, at the size of the whole: float32, bilinear.

    Args:
        images: `[N, C, H, W]` or `[N, H, W, C]` (the smaller of the second and the last size is C); not changed.
        cut: Of N samples.

    Source: Szegedy et al., "Going deeper with convolutions", CVPR 2015, section 6, for training on parts of any size.
    """
    first = 1 if images.shape[3] < images.shape[1] else 2
    result = np.empty(images.shape, np.float32)
    for i, image in enumerate(images):
        for axis in (0, 1):
            image = _stretched(image, first - 1 + axis, cut.sizes[i, axis], cut.places[i, axis])
        result[i] = np.flip(image, first) if cut.mirrored[i] else image
    return result


def _stretched(image: np.ndarray, axis: int, share: float, place: float) -> np.ndarray:
    """A part of an axis at its whole length, linearly interpolated between pixels."""
    length = image.shape[axis]
    at = place * (1 - share) * (length - 1) + np.linspace(0, share * (length - 1), length)
    before = np.minimum(at.astype(np.int64), max(0, length - 2))
    part = np.reshape((at - before).astype(np.float32), (-1, *(1,) * (image.ndim - 1 - axis)))
    low, high = np.take(image, before, axis), np.take(image, np.minimum(before + 1, length - 1), axis)
    return low + (high - low) * part


def mix(x: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Each sample mixed with the one before it: share x[i] + (1 - share) x[i - 1].

    Args:
        x: float, [N, ...]; not changed.
        shares: [N] in [0, 1].

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412, with uniform shares as in Beyer
    et al., "Knowledge distillation: A good teacher is patient and consistent", arXiv:2106.05237, section 3.
    """
    shares = shares.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 1))
    others = np.roll(x, 1, axis=0)
    return others + (x - others) * shares
