"""What is done to raw images before a model sees them, and its text form."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from fractions import Fraction

import numpy as np
from PIL import Image

from pfir.errors import UsageError

_PRESETS = {
    # torchvision's weights and most ImageNet nets since; resize and crop vary from net to net.
    "imagenet": {"scale": "1/255", "mean": "0.485:0.456:0.406", "std": "0.229:0.224:0.225"},
}
_METHODS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_LAYOUTS = ("", "nchw", "nhwc")
LARGEST_SIDE = 8192
"""Of a resized image, which then takes 200 MB."""
EXAMPLE = "--preprocess scale=1/255,mean=0.485:0.456:0.406,std=0.229:0.224:0.225 (or scale=1/255, or imagenet)"


@dataclass(frozen=True)
class Preprocess:
    """x' = (x * scale - mean) / std on raw RGB in 0..255, after resizing and a centre crop.

    Args:
        scale: A finite number.
        mean, std: One number, or one per channel; std is above 0.
        resize: () for none; (s,) makes the shorter side s and keeps the proportions; (height, width).
        crop: () for none; (s,) a centred square; (height, width).
        layout: Of the model's input, nchw or nhwc, where its shape does not tell; empty to go by the shape.
        method: Of resizing: bilinear or bicubic.

    Raises:
        UsageError: A value is out of range.
    """

    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    resize: tuple[int, ...] = ()
    crop: tuple[int, ...] = ()
    layout: str = ""
    method: str = "bilinear"

    def __post_init__(self) -> None:
        if not all(np.isfinite([self.scale, *self.mean, *self.std])):
            raise UsageError("preprocess: scale, mean and std must be finite numbers")
        if min(self.std) <= 0:
            raise UsageError(f"preprocess: std is {min(self.std):g}; it must be above 0")
        if {len(self.mean), len(self.std)} - {1, 3, 4}:
            raise UsageError("preprocess: mean and std take one number, or one per channel, as in mean=0.5:0.5:0.5")
        for name in ("resize", "crop"):
            sizes = getattr(self, name)
            if len(sizes) > 2 or any(not 1 <= n <= LARGEST_SIDE for n in sizes):
                raise UsageError(f"preprocess: {name} takes one size or HEIGHTxWIDTH, each from 1 to {LARGEST_SIDE}")
        if self.layout not in _LAYOUTS:
            raise UsageError(f"preprocess: layout is {self.layout}; it must be nchw or nhwc")
        if self.method not in _METHODS:
            raise UsageError(f"preprocess: method is {self.method}; it must be bilinear or bicubic")

    @property
    def resizes(self) -> bool:
        return bool(self.resize or self.crop)

    def sized(self, image: Image.Image) -> np.ndarray:
        """The image resized and cropped: uint8 [H, W, C]; a crop larger than the image is a ValueError."""
        array = np.asarray(self._resized(image))
        array = array[..., None] if array.ndim == 2 else array
        return _centre(array, self.crop) if self.crop else array

    def scaled(self, x: np.ndarray, axis: int) -> np.ndarray:
        """(x * scale - mean) / std in float32, with the channels along `axis`."""
        shape = [1] * x.ndim
        shape[axis] = -1
        mean, std = (np.reshape(np.asarray(values, np.float32), shape) for values in (self.mean, self.std))
        y = x.astype(np.float32)
        y *= np.float32(self.scale)
        y -= mean
        y /= std
        return y

    def __str__(self) -> str:
        """The text that `parse_preprocess` reads back."""
        parts = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                parts.append(f"{field.name}={_text(value, 'x' if field.name in ('resize', 'crop') else ':')}")
        return ",".join(parts) or "scale=1"

    def _resized(self, image: Image.Image) -> Image.Image:
        if not self.resize:
            return image
        height, width = self.resize if len(self.resize) == 2 else _shorter_side(image, self.resize[0])
        if height * width > LARGEST_SIDE**2:
            raise ValueError(f"its shorter side {self.resize[0]} makes it {height}x{width}, too large")
        return image.resize((width, height), _METHODS[self.method])


def parse_preprocess(text: str) -> Preprocess:
    """Preprocessing from `key=value` pairs between commas, such as

        scale=1/255,mean=0.485:0.456:0.406,std=0.229:0.224:0.225,resize=256,crop=224,layout=nchw,method=bicubic

    Numbers may be quotients; values per channel stand between colons; sizes are one number or HEIGHTxWIDTH. `imagenet`
    as first word stands for the scale, mean and std above. An empty text leaves the values as they are.

    Raises:
        UsageError: A key is unknown or twice there, or a value cannot be read.
    """
    words = [word.strip() for word in text.split(",") if word.strip()]
    result = Preprocess()
    if words and words[0] in _PRESETS:
        result = _with(result, _PRESETS[words.pop(0)])
    return _with(result, dict(_pairs(words)))


def _pairs(words: list[str]):
    known, seen = {field.name for field in fields(Preprocess)}, set()
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in known:
            raise UsageError(f"preprocess: {word!r} is not understood; keys are {', '.join(sorted(known))}")
        if key in seen:
            raise UsageError(f"preprocess: {key} is given twice")
        seen.add(key)
        yield key, value


def _with(base: Preprocess, values: dict[str, str]) -> Preprocess:
    return replace(base, **{key: _value(key, text) for key, text in values.items()})


def _value(key: str, text: str):
    try:
        if key in ("layout", "method"):
            return text.lower()
        if key in ("resize", "crop"):
            return tuple(int(part) for part in text.lower().split("x"))
        numbers = tuple(_number(part) for part in text.split(":"))
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise UsageError(f"preprocess: {key}={text} is not understood; expected as in {EXAMPLE}") from error
    if key == "scale" and len(numbers) != 1:
        raise UsageError(f"preprocess: scale={text} must be one number")
    return numbers[0] if key == "scale" else numbers


def _number(text: str) -> float:
    """A number such as 0.5 or 1/127.5."""
    above, slash, below = text.partition("/")
    return float(Fraction(above) / Fraction(below)) if slash else float(Fraction(above))


def _text(value, separator: str) -> str:
    if isinstance(value, str):
        return value
    return separator.join(repr(v) for v in value) if isinstance(value, tuple) else repr(value)


def _shorter_side(image: Image.Image, size: int) -> tuple[int, int]:
    """Height and width after the shorter side is made `size`; the longer is rounded down, as torchvision does."""
    width, height = image.size
    if width <= height:
        return size * height // width, size
    return size, size * width // height


def _centre(array: np.ndarray, crop: tuple[int, ...]) -> np.ndarray:
    height, width = crop if len(crop) == 2 else crop * 2
    if height > array.shape[0] or width > array.shape[1]:
        raise ValueError(f"an image of {array.shape[0]}x{array.shape[1]} is smaller than the crop of {height}x{width}")
    # torchvision rounds half of the margin in the same way.
    top, left = (round((n - size) / 2) for n, size in ((array.shape[0], height), (array.shape[1], width)))
    return array[top : top + height, left : left + width]
