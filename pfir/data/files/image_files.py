"""Where images lie: below a folder, or in a .zip file."""

from __future__ import annotations

import os
import stat
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pfir.data.files.foreign import open_archive, reading, refuse_member
from pfir.errors import DataError

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
_LARGEST_FILE = 256 << 20  # bytes


class ImageFiles(ABC):
    """Where images lie."""

    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Paths of the images, with /, sorted."""

    @abstractmethod
    def others(self) -> tuple[str, ...]:
        """Paths of the files that are no images."""

    @abstractmethod
    def read(self, name: str) -> bytes: ...


class FolderFiles(ImageFiles):
    """Images below a folder.

    Raises:
        DataError: Of `names`: an image is a link that leads out of the folder, or no file; a folder is a link or cannot
            be listed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> tuple[str, ...]:
        found = _images(self._files())
        for name in found:
            self._refuse(name)
        return found

    def others(self) -> tuple[str, ...]:
        return tuple(sorted(self._files()))

    def read(self, name: str) -> bytes:
        path = self._folder / name
        with reading(str(path), "an image"):
            size = path.stat().st_size
            if size <= _LARGEST_FILE:
                return path.read_bytes()
        raise DataError(f"{path}: has {size >> 20} MiB, too much for one image")

    def _files(self) -> list[str]:
        found = []
        for place, folders, files in os.walk(self._folder, onerror=_unlisted):
            inside = Path(place).relative_to(self._folder)
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            for folder in folders:
                where = self._folder / inside / folder
                if where.is_symlink():
                    raise DataError(f"{where}: is a link to a folder, which is not followed; put the folder there")
            found += [(inside / file).as_posix() for file in files]
        return found

    def _refuse(self, name: str) -> None:
        path = self._folder / name
        with reading(str(path), "an image"):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                mode = path.stat().st_mode
                if not path.resolve().is_relative_to(self._folder.resolve()):
                    raise DataError(f"{path}: is a link out of the folder, which is not followed; put the image there")
        if not stat.S_ISREG(mode):
            raise DataError(f"{path}: is no file; a pipe, a socket or a device cannot be read as an image")


class ZipFiles(ImageFiles):
    """Images in a .zip file, each unpacked in memory when read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._archive: zipfile.ZipFile | None = None

    def names(self) -> tuple[str, ...]:
        return _images(self._opened().namelist())

    def others(self) -> tuple[str, ...]:
        return tuple(n for n in self._opened().namelist() if not n.endswith("/"))

    def read(self, name: str) -> bytes:
        where = f"{self._path}: {name}"
        archive = self._opened()
        member = archive.getinfo(name)
        refuse_member(member, where)
        if member.file_size > _LARGEST_FILE:
            raise DataError(f"{where} declares {member.file_size >> 20} MiB, too much for one image")
        with reading(where, "a file of the archive"):
            return archive.read(member)

    def __getstate__(self) -> dict:
        return {"_path": self._path, "_archive": None}

    def _opened(self) -> zipfile.ZipFile:
        if self._archive is None:
            self._archive = open_archive(self._path, "a .zip of images")
        return self._archive


def _unlisted(error: OSError) -> None:
    raise DataError(f"{error.filename}: cannot be listed: {error.strerror}") from error


def _images(names: Sequence[str]) -> tuple[str, ...]:
    """The names of images, without hidden files and macOS's shadows."""
    kept = []
    for name in names:
        parts = PurePosixPath(name).parts
        hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
        if not hidden and name.lower().endswith(ENDINGS):
            kept.append(name)
    return tuple(sorted(kept))
