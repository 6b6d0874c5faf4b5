"""How samples of one shape are brought into the shape and type of a model's input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pfir.artifact import TensorSpec
from pfir.data.preprocess import EXAMPLE, Preprocess
from pfir.errors import DataError

_COLOURS = (1, 3, 4)
_TO_FIRST, _TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


@dataclass(frozen=True)
class Fit:
    """What to do with a batch [N, *sample] of raw data.

    Args:
        dtype: Of the model's input.
        preprocess: Applied first; None where values are used as given.
        channels: The axis of raw batches that holds the channels.
        order: The transposition that follows, or () for none.
        shape: What each sample is reshaped to at last (axes of size 1 come and go), or None.
    """

    dtype: str
    preprocess: Preprocess | None
    channels: int
    order: tuple[int, ...] = ()
    shape: tuple[int, ...] | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The batch as the model takes it: [N, ...], contiguous."""
        if x.ndim <= self.channels:
            x = x[..., None]  # grey images without a channel axis
        if self.preprocess is not None:
            x = self._scaled(x, self.preprocess)
        if self.order:
            x = x.transpose(self.order)
        if self.shape is not None:
            x = x.reshape(len(x), *self.shape)
        return np.ascontiguousarray(x, self.dtype)

    def _scaled(self, x: np.ndarray, preprocess: Preprocess) -> np.ndarray:
        if not preprocess.resizes:
            return preprocess.scaled(x, self.channels)
        return preprocess.scaled(np.stack([preprocess.sized(_picture(sample)) for sample in x]), 3)


def fit(shape: tuple[int, ...], dtype: np.dtype, spec: TensorSpec, preprocess: Preprocess | None, where: str) -> Fit:
    """How samples of this shape (without the batch axis) and type feed this input.

    Args:
        where: Names the array in an error: its file and key.

    Raises:
        DataError: The shape or type does not suit the input, or raw integers lack preprocessing.
    """
    scaling = _scaling(shape, dtype, spec, preprocess, where)
    if scaling is not None and scaling.resizes and (dtype != np.uint8 or len(spec.shape) != 4):
        raise DataError(f"{where}: only uint8 images can be resized or cropped, this is {dtype} {_text(shape)}")
    last = len(spec.shape) == 4 and channels_last(spec, preprocess)
    if len(spec.shape) == 4 and len(shape) == 2 and scaling is not None:
        return _image_fit((*shape, 1), dtype, spec, scaling, last, where)
    if len(spec.shape) == 4 and len(shape) == 3:
        return _image_fit(shape, dtype, spec, scaling, last, where)
    return _plain_fit(shape, spec, scaling, where)


def channels_last(spec: TensorSpec, preprocess: Preprocess | None = None) -> bool:
    """Whether a rank-4 input is [N, H, W, C] rather than [N, C, H, W], as stated or as far as its shape tells."""
    if preprocess is not None and preprocess.layout:
        return preprocess.layout == "nhwc"
    return spec.shape[1] not in _COLOURS and spec.shape[3] in _COLOURS


def _scaling(shape, dtype: np.dtype, spec: TensorSpec, preprocess: Preprocess | None, where: str) -> Preprocess | None:
    """The preprocessing that applies to values of this type, or None."""
    if dtype.kind not in "biuf":
        raise DataError(f"{where}: its type is {dtype}; numbers are needed")
    wanted = _numpy_type(spec.dtype)
    if wanted is None or wanted.kind not in "biuf":
        raise DataError(f"{where}: the model's input {spec.name} takes {spec.dtype}, which data cannot feed")
    if wanted.kind in "iu" and dtype.kind == "f":
        raise DataError(f"{where}: its type is {dtype}, but the model's input {spec.name} takes {spec.dtype}")
    if wanted.kind != "f" or dtype.kind == "f":
        return None
    raw = dtype == np.uint8 or (dtype.kind in "iu" and len(spec.shape) == 4)
    if raw and preprocess is None:
        raise DataError(
            f"{where}: raw {dtype} values, but the model's input {spec.name} takes {spec.dtype}; "
            f"say how it was trained: {EXAMPLE}"
        )
    return preprocess if raw else None


def _numpy_type(name: str) -> np.dtype | None:
    """NumPy's type of this name; None where it has none, as for what is no tensor."""
    try:
        return np.dtype(name)
    except TypeError:
        return None


def _image_fit(shape, dtype: np.dtype, spec: TensorSpec, scaling: Preprocess | None, last: bool, where: str) -> Fit:
    """Data [H, W, C] or [C, H, W] for a model [N, C, H, W] or, if `last`, [N, H, W, C]."""
    ours_last = _data_channels_last(shape, dtype)
    if scaling is not None and scaling.resizes:
        if not ours_last:
            raise DataError(f"{where}: images to be resized must be [N, H, W, C], these are {_text(shape)}")
        height, width = _target_size(shape, scaling)
        shape = (height, width, shape[2])
    if _takes(spec, shape) and (ours_last == last or not _takes(spec, _turned(shape, ours_last))):
        order: tuple[int, ...] = ()
    elif _takes(spec, _turned(shape, ours_last)):
        order = _TO_FIRST if ours_last else _TO_LAST
    else:
        return _plain_fit(shape, spec, scaling, where)
    axis = 3 if ours_last else 1
    return _checked(Fit(spec.dtype, scaling, axis, order), shape, where)


def _plain_fit(shape, spec: TensorSpec, scaling: Preprocess | None, where: str) -> Fit:
    if _takes(spec, shape):
        return _checked(Fit(spec.dtype, scaling, channels=len(shape)), shape, where)
    sizes = tuple(n for n in spec.shape[1:] if isinstance(n, int))
    if len(sizes) == len(spec.shape) - 1 and [n for n in shape if n != 1] == [n for n in sizes if n != 1]:
        return _checked(Fit(spec.dtype, scaling, len(shape), shape=sizes), shape, where)
    hint = "" if scaling is None else "; resize=256,crop=224 in --preprocess sets the size of images"
    wanted = _text(spec.shape[1:])
    raise DataError(f"{where}: samples are {_text(shape)}, the model's input {spec.name} takes {wanted}{hint}")


def _checked(fit: Fit, shape, where: str) -> Fit:
    """The fit, if mean and std have one number for each of the channels of samples of this shape."""
    if fit.preprocess is not None:
        channels = shape[fit.channels - 1] if fit.channels else 1
        for name in ("mean", "std"):
            if len(getattr(fit.preprocess, name)) not in (1, channels):
                raise DataError(f"{where}: images of {channels} channels, but preprocess has another number in {name}")
    return fit


def _data_channels_last(shape, dtype: np.dtype) -> bool:
    """Whether samples of three axes keep their channels last: images do unless only the first axis can be them."""
    if shape[2] in _COLOURS and shape[0] in _COLOURS:
        return dtype.kind != "f"
    return shape[0] not in _COLOURS


def _target_size(shape, preprocess: Preprocess) -> tuple[int, int]:
    blank = Image.new("L", (shape[1], shape[0]))
    try:
        height, width, _ = preprocess.sized(blank).shape
    except ValueError as error:
        raise DataError(f"--preprocess: {error}") from error
    return height, width


def _turned(shape, last: bool) -> tuple[int, ...]:
    return (shape[2], shape[0], shape[1]) if last else (shape[1], shape[2], shape[0])


def _takes(spec: TensorSpec, shape) -> bool:
    wanted = spec.shape[1:]
    if len(wanted) != len(shape):
        return False
    return all(not isinstance(w, int) or w == n for w, n in zip(wanted, shape, strict=True))


def _picture(sample: np.ndarray) -> Image.Image:
    return Image.fromarray(sample[..., 0] if sample.ndim == 3 and sample.shape[2] == 1 else sample)


def _text(shape) -> str:
    return "[" + ", ".join("?" if n is None else str(n) for n in shape) + "]"
