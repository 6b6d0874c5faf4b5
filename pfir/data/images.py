"""A folder of images, or a .zip of one: a subfolder for each class."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from pfir.artifact import TensorSpec
from pfir.data.base import Dataset
from pfir.data.layout import channels_last, fit
from pfir.data.preprocess import Preprocess
from pfir.errors import DataError

_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM", "TIFF")  # Pillow's others include PostScript, which runs programs
_LARGEST_FILE = 256 << 20  # bytes
_SHOWN_CLASSES = 5


class ImageFolder(Dataset):
    """Images as a model of one rank-4 input takes them, opened when asked for.

    A subfolder is a class: names that are all integers are the class indices, otherwise classes count from 0 in the
    order of the sorted names. Images beside each other without subfolders have no labels.

    Raises:
        DataError: There are no images, only some lie in subfolders, one cannot be read or does not suit the model.
    """

    kind = "given"

    def __init__(
        self, files: ImageFiles, inputs: Sequence[TensorSpec], preprocess: Preprocess | None, where: str
    ) -> None:
        if len(inputs) != 1 or len(inputs[0].shape) != 4:
            raise DataError(f"{where}: a folder of images feeds a model of one input [N, C, H, W] or [N, H, W, C]")
        self._files, self._spec, self._preprocess, self._where = files, inputs[0], preprocess, where
        self.inputs = (inputs[0].name,)
        self._names = files.names()
        if not self._names:
            raise DataError(f"{where}: holds no images ({' '.join(_ENDINGS)})")
        self.labels, self.notes = _classes(self._names, where)
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
        try:
            with Image.open(io.BytesIO(self._files.read(name)), formats=_FORMATS) as image:
                if image.mode.startswith(("I", "F")):
                    raise ValueError(f"pixels of mode {image.mode}; 8 bits per channel are needed")
                image = image.convert(self._mode())
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{where}: cannot be read as an image: {error}") from error
        array = np.asarray(image)
        return array[..., None] if array.ndim == 2 else array

    def _mode(self) -> str:
        channels = self._spec.shape[3 if channels_last(self._spec, self._preprocess) else 1]
        return {1: "L", 4: "RGBA"}.get(channels, "RGB")


class ImageFiles(ABC):
    """Where images lie."""

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Paths of the images, with /, sorted."""

    @abstractmethod
    def read(self, name: str) -> bytes: ...


class FolderFiles(ImageFiles):
    """Images below a folder; links out of it are not followed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> tuple[str, ...]:
        found = []
        for place, _, files in os.walk(self._folder):
            inside = Path(place).relative_to(self._folder)
            found += [(inside / file).as_posix() for file in files]
        return _images(found)

    def read(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()


class ZipFiles(ImageFiles):
    """Images in a .zip file, each unpacked in memory when read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._archive: zipfile.ZipFile | None = None

    def names(self) -> tuple[str, ...]:
        return _images(self._opened().namelist())

    def read(self, name: str) -> bytes:
        member = self._opened().getinfo(name)
        if member.file_size > _LARGEST_FILE:
            raise DataError(f"{self._path}: {name} declares {member.file_size >> 20} MiB, too much for one image")
        try:
            return self._archive.read(member)
        except (zipfile.BadZipFile, RuntimeError, EOFError, zlib.error) as error:
            raise DataError(f"{self._path}: {name} cannot be unpacked: {error}") from error

    def __getstate__(self) -> dict:
        return {"_path": self._path, "_archive": None}

    def _opened(self) -> zipfile.ZipFile:
        if self._archive is None:
            self._archive = zipfile.ZipFile(self._path)
        return self._archive


def _images(names: Sequence[str]) -> tuple[str, ...]:
    """The names of images, without hidden files and macOS's shadows."""
    kept = []
    for name in names:
        parts = PurePosixPath(name).parts
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
        if not hidden and name.lower().endswith(_ENDINGS):
            kept.append(name)
    return tuple(sorted(kept))


def _classes(names: Sequence[str], where: str) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels by the folder of each image, and a note that tells which is which."""
    folders = _class_folders(names)
    if not any(folders):
        return None, (f"{where}: {len(names)} images without subfolders, so without labels",)
    if not all(folders):
        stray = names[folders.index("")]
        raise DataError(f"{where}: {stray} lies outside the class folders; either all images do or none")
    kinds = sorted(set(folders))
    integers = all(kind.isascii() and kind.isdigit() for kind in kinds)
    index = {kind: int(kind) if integers else place for place, kind in enumerate(kinds)}
    meaning = "their numbers" if integers else _listing(kinds)
    note = f"{where}: {len(names)} images in {len(kinds)} folders; classes are {meaning}"
    return np.array([index[folder] for folder in folders], np.int64), (note,)


def _class_folders(names: Sequence[str]) -> list[str]:
    """The first folder of each path, after one that encloses all of them; empty for none."""
    parts = [PurePosixPath(name).parts[:-1] for name in names]
    while all(len(p) > 1 for p in parts) and len({p[0] for p in parts}) == 1:
        parts = [p[1:] for p in parts]
    return [p[0] if p else "" for p in parts]


def _listing(kinds: Sequence[str]) -> str:
    shown = ", ".join(f"{place}={kind}" for place, kind in enumerate(kinds[:_SHOWN_CLASSES]))
    return f"sorted names: {shown}" + (", .." if len(kinds) > _SHOWN_CLASSES else "")
