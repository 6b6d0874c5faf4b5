"""Built libraries by content in the user's cache folder, so that the same model for the same target is built once."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path

from pfir.devices.emulation.cached import default_cache
from pfir.ir.model import Model
from pfir.system.checksum import opened, sealed
from pfir.target import Target

_KEPT = 128
_SEAL = ".seal"
"""The ending of the file beside a library that names its slow nodes and has the checksum of both."""


def key(model: Model, target: Target, measured: str) -> str:
    """What decides a library's bytes: the model, the target, TVM, this backend's sources and what they choose by.

    Args:
        measured: What is known of kernels on the target's core.
    """
    digest = hashlib.sha256(model.to_proto().SerializeToString(deterministic=True))
    where = (repr(target.core), target.triple, target.cpu, target.features, target.threads, target.arithmetic.name)
    for part in (*where, measured, _toolchain()):
        digest.update(repr(part).encode())
    return digest.hexdigest()


def find(name: str, note: Callable[[str], None] | None = None) -> tuple[bytes, tuple[str, ...]] | None:
    """The library of this key and its slow nodes, if it was built before and is still what was built.

    Args:
        note: Told where the entry is damaged.
    """
    path = _folder() / f"{name}.so"
    try:
        seal, library = _read(path.with_suffix(_SEAL)), path.read_bytes()
        os.utime(path)
    except OSError:
        return None
    slow = opened(seal, library)
    if slow is not None:
        return library, tuple(slow.decode().split("\0")) if slow else ()
    if note is not None:
        note(f"the library {path} in the cache is damaged; it is built anew")
    return None


def keep(name: str, library: bytes, slow: tuple[str, ...] = ()) -> None:
    """Put a library and its slow nodes there, whole or not at all; a folder that cannot be written is no failure."""
    folder = _folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # First, since a library without its seal would pass for a damaged one.
        _put(folder / f"{name}{_SEAL}", sealed("\0".join(slow).encode(), library))
        _put(folder / f"{name}.so", library)
        _forget_oldest(folder)
    except OSError:
        return


def _read(path: Path) -> bytes:
    """The content; nothing where there is no such file."""
    return path.read_bytes() if path.exists() else b""


def _put(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.replace(file.name, path)
        except OSError:
            os.unlink(file.name)
            raise


def _folder() -> Path:
    return default_cache() / "libraries"


def _forget_oldest(folder: Path) -> None:
    libraries = sorted(folder.glob("*.so"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in libraries[_KEPT:]:
        path.unlink(missing_ok=True)
        path.with_suffix(_SEAL).unlink(missing_ok=True)


@cache
def _toolchain() -> str:
    """The versions of TVM and of the linker, and this backend's own sources."""
    digest = hashlib.sha256()
    for name in ("apache-tvm", "apache-tvm-ffi", "ziglang"):
        digest.update(version(name).encode())
    for path in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
