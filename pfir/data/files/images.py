"""A folder of images, or a .zip of one: a subfolder for each class."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from pfir.artifact import TensorSpec
from pfir.data.base import Dataset
from pfir.data.classes import ClassNames
from pfir.data.files.foreign import reading
from pfir.data.files.image_files import ENDINGS, ImageFiles
from pfir.data.files.kinds import kind_by_name, kind_by_start
from pfir.data.layout import channels_last, fit
from pfir.data.preprocess import Preprocess
from pfir.errors import DataError

_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM", "TIFF")  # Pillow's others include PostScript, which runs programs
_MOST_PIXELS = 50_000_000
"""Pillow holds four bytes a pixel, twice while it converts: 400 MB."""
_TILE_TAGS = (322, 323)  # of TIFF: TileWidth, TileLength
_SHOWN_CLASSES = 10
_DIGITS = 10  # of a folder's number, at most


class ImageFolder(Dataset):
    """Images as a model of one rank-4 input takes them, opened when asked for.

    A subfolder is a class: names that are all integers are the class indices, otherwise `class_names` tells, or classes
    count from 0 in the order of the sorted names. Images beside each other without subfolders have no labels.

    Args:
        classes: How many the model tells apart, where that is known.
        class_names: The index of each class by its name.

    Raises:
        DataError: There are no images, only some lie in subfolders, one cannot be read or does not suit the model, or a
            subfolder bears no name of a class.
    """

    kind = "given"

    def __init__(
        self,
        files: ImageFiles,
        inputs: Sequence[TensorSpec],
        preprocess: Preprocess | None,
        where: str,
        classes: int | None = None,
        class_names: ClassNames | None = None,
    ) -> None:
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise DataError(f"{where}: a folder of images feeds a model of one input [N, C, H, W] or [N, H, W, C]")
        self._files, self._spec, self._preprocess, self._where = files, inputs[0], preprocess, where
        self.inputs = (inputs[0].name,)
        self._names = files.names()
        if not self._names:
            raise DataError(f"{where}: holds no images ({' '.join(ENDINGS)}){_instead(files.others())}")
        self.labels, self.notes = _classes(self._names, where, classes, class_names)
        self._hash: str | None = None
        self.batch(np.array([0]))  # what does not suit the model is told at once

    def __len__(self) -> int:
        return len(self._names)

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {self._spec.name: np.concatenate([self._image(self._names[i]) for i in indices])}

    def fingerprint(self) -> str:
        if self._hash is None:
            digest = hashlib.sha256(repr((self._spec.dtype, self._spec.shape[1:], self._preprocess)).encode())
            for name in self._names:
                digest.update(repr(name).encode())
                digest.update(hashlib.sha256(self._files.read(name)).digest())
            self._hash = digest.hexdigest()
        return self._hash

    def _image(self, name: str) -> np.ndarray:
        """[1, ...] as the model takes it."""
        where = f"{self._where}: {name}"
        pixels = self._pixels(name, where)[None]
        return fit(pixels.shape[1:], pixels.dtype, self._spec, self._preprocess, where)(pixels)

    def _pixels(self, name: str, where: str) -> np.ndarray:
        content = self._files.read(name)
        _refuse_other(content, where)
        with reading(where, "an image"), _opened(content, where) as image:
            image = image.convert(self._mode())
        array = np.asarray(image)
        return array[..., None] if array.ndim == 2 else array

    def _mode(self) -> str:
        channels = self._spec.shape[3 if channels_last(self._spec, self._preprocess) else 1]
        return "L" if channels == 1 else "RGBA" if channels == 4 else "RGB"


def _opened(content: bytes, where: str) -> Image.Image:
    """The image, its pixels not read yet."""
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError:
        known = ", ".join(_FORMATS)
        raise DataError(f"{where}: is broken, or an image of another format than {known}") from None
    if image.mode.startswith(("I", "F")):
        raise DataError(f"{where}: has pixels of mode {image.mode}; 8 bits per channel are needed")
    width, height = _largest_area(image)
    if width * height > _MOST_PIXELS:
        size, most = f"{width}x{height}", f"{_MOST_PIXELS // 1_000_000} million"
        raise DataError(f"{where}: is an image of {size} pixels; at most {most} are read")
    return image


def _largest_area(image: Image.Image) -> tuple[int, int]:
    """Width and height of what is unpacked at once: the image, or a tile of a TIFF, which may declare larger ones."""
    tags = getattr(image, "tag_v2", {})
    tile = tuple(tags.get(tag, 0) for tag in _TILE_TAGS)
    if not all(isinstance(size, int) for size in tile):
        raise ValueError(f"tiles of {tile}")
    return max(image.size, tile, key=math.prod)


def _refuse_other(content: bytes, where: str) -> None:
    """Nothing happens unless the content is well known as something else than an image."""
    found = kind_by_start(content) if content else "empty"
    if found is not None and "image" not in found:
        raise DataError(f"{where}: is no image but {found}" if content else f"{where}: is an empty file")


def _instead(names: Sequence[str]) -> str:
    """What the files are that were found instead of images."""
    kinds = [kind_by_name(name) for name in names]
    known = next((i for i, kind in enumerate(kinds) if kind), None)
    if known is not None:
        return f"; {names[known]} is {kinds[known]}"
    return f"; found {names[0]}" + (f" and {len(names) - 1} more" if names[1:] else "") if names else ""


def _classes(
    names: Sequence[str], where: str, classes: int | None, given: ClassNames | None
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels by the folder of each image, and a note that tells which is which."""
    folders = _class_folders(names)
    if not any(folders):
        return None, (f"{where}: {len(names)} images without subfolders, so without labels",)
    if not all(folders):
        stray = names[folders.index("")]
        raise DataError(f"{where}: {stray} lies outside the class folders; either all images do or none")
    kinds = sorted(set(folders))
    index, meaning = _indices(kinds, where, classes, given)
    note = f"{where}: {len(names)} images in {len(kinds)} folders; classes are {meaning}"
    return np.array([index[folder] for folder in folders], np.int64), (note,)


def _indices(
    kinds: Sequence[str], where: str, classes: int | None, given: ClassNames | None
) -> tuple[dict[str, int], str]:
    """The class of each folder, and how that came about."""
    if given is not None:
        index = given.of(kinds, where)
        other = f" ({given.count} names, the model has {classes} classes)" if classes not in (None, given.count) else ""
        return index, f"those of {given.path}{other}: {_listing(index)}"
    if all(kind.isascii() and kind.isdigit() and len(kind) < _DIGITS for kind in kinds):
        return {kind: int(kind) for kind in kinds}, "their numbers"
    index = {kind: place for place, kind in enumerate(kinds)}
    other = f", though the model has {classes} classes: --classes FILE tells which is which"
    return index, f"sorted names: {_listing(index)}{other if classes not in (None, len(kinds)) else ''}"


def _class_folders(names: Sequence[str]) -> list[str]:
    """The first folder of each path, after one that encloses all of them; empty for none."""
    parts = [PurePosixPath(name).parts[:-1] for name in names]
    while all(len(p) > 1 for p in parts) and len({p[0] for p in parts}) == 1:
        parts = [p[1:] for p in parts]
    return [p[0] if p else "" for p in parts]


def _listing(index: Mapping[str, int]) -> str:
    pairs = sorted((place, kind) for kind, place in index.items())
    shown = ", ".join(f"{place}={kind}" for place, kind in pairs[:_SHOWN_CLASSES])
    return shown + (f", .. {pairs[-1][0]}={pairs[-1][1]}" if pairs[_SHOWN_CLASSES:] else "")
