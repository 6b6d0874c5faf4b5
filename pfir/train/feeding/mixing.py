"""Samples mixed by twos: a share of each is another sample, everywhere alike (mixup) or in a box (CutMix)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pfir.errors import DataError, UsageError


@dataclass(frozen=True)
class Mixing:
    """How samples are mixed; where both ways are on, half of the samples go either.

    Args:
        mixup: alpha >= 0 of the Beta(alpha, alpha) distribution of shares; 0 for no mixup.
        cutmix: The same for boxes of images.

    Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, arXiv:1710.09412, section 2; Yun et
    al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019,
    arXiv:1905.04899, section 3. Ours draws a share for each sample rather than for each batch, so that a view of a
    sample follows from its number alone and the teacher's answer for it can be kept.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mixup", "cutmix"):
            value = getattr(self, name)
            if not 0 <= value < np.inf:
                raise UsageError(f"{name} is {value}; it must be a number of at least 0")

    def __bool__(self) -> bool:
        """Whether anything is mixed."""
        return self.mixup > 0 or self.cutmix > 0


@dataclass(frozen=True)
class Mixture:
    """With what each sample is mixed, and how.

    Args:
        partners: int64 [N], indices of the other samples.
        shares: float64 [N] in [0, 1], how much of each sample is itself.
        cut: bool [N], whether a box holds the other sample.
        centres: [N, 2] in [0, 1), of the boxes, down and to the right in units of the image.
    """

    partners: np.ndarray
    shares: np.ndarray
    cut: np.ndarray
    centres: np.ndarray

    def of(self, indices: np.ndarray) -> Mixture:
        """The same for some of the samples."""
        return Mixture(self.partners[indices], self.shares[indices], self.cut[indices], self.centres[indices])


def draw_mixture(random: np.random.Generator, count: int, mixing: Mixing) -> Mixture:
    """A random mixture for each of `count` samples."""
    half = 0.5 if mixing.mixup and mixing.cutmix else float(mixing.cutmix > 0)
    cut = random.random(count) < half
    alphas = np.where(cut, mixing.cutmix, mixing.mixup)
    return Mixture(random.permutation(count), random.beta(alphas, alphas), cut, random.random((count, 2)))


def mixed(arrays: dict[str, np.ndarray], others: dict[str, np.ndarray], mixture: Mixture) -> dict[str, np.ndarray]:
    """The inputs of samples mixed with those of their partners; the same mixture for every input.

    Args:
        arrays: By name, `[N, ...]`; images `[N, C, H, W]` or `[N, H, W, C]`, as in `augment.flip_crop`. Not changed.
        others: The same of the partners.
        mixture: Of N samples.

    Raises:
        DataError: An input is not of floats, or has no height and width where boxes are cut.
    """
    return {name: _mixed(name, x, others[name], mixture) for name, x in arrays.items()}


def own_shares(arrays: dict[str, np.ndarray], mixture: Mixture) -> np.ndarray:
    """How much of each mixed sample is itself, float32 [N]: of boxes what is left of them inside the image."""
    if not mixture.cut.any():
        return mixture.shares.astype(np.float32)
    image = next(x for x in arrays.values() if x.ndim == 4)
    left = 1 - _boxes(*_sizes(image), mixture).mean((1, 2))
    return np.where(mixture.cut, left, mixture.shares).astype(np.float32)


def _mixed(name: str, x: np.ndarray, other: np.ndarray, mixture: Mixture) -> np.ndarray:
    if x.dtype.kind != "f":
        raise DataError(f"input {name} holds {x.dtype}, and mixup and cutmix mix floats alone; leave them out")
    if mixture.cut.any() and x.ndim != 4:
        raise DataError(f"input {name} is {list(x.shape)}, no images to cut boxes of; use mixup in place of cutmix")
    share = mixture.shares.astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
    result = share * x + (1 - share) * other
    if mixture.cut.any():
        result[mixture.cut] = _pasted(x, other, mixture)[mixture.cut]
    return result


def _pasted(x: np.ndarray, other: np.ndarray, mixture: Mixture) -> np.ndarray:
    inside = _boxes(*_sizes(x), mixture)
    return np.where(inside[..., None] if _channels_last(x) else inside[:, None], other, x)


def _boxes(height: int, width: int, mixture: Mixture) -> np.ndarray:
    """Which positions hold the other sample, bool [N, H, W]: a box of the other's share, cut off at the borders."""
    side = np.sqrt(1 - mixture.shares)
    rows, columns = (_within(mixture.centres[:, i], side, size) for i, size in enumerate((height, width)))
    return rows[:, :, None] & columns[:, None, :]


def _within(centre: np.ndarray, side: np.ndarray, size: int) -> np.ndarray:
    at = (np.arange(size) + 0.5) / size
    return np.abs(at[None, :] - centre[:, None]) < side[:, None] / 2


def _sizes(images: np.ndarray) -> tuple[int, int]:
    height, width = images.shape[1:3] if _channels_last(images) else images.shape[2:4]
    return height, width


def _channels_last(images: np.ndarray) -> bool:
    return bool(images.shape[3] < images.shape[1])
