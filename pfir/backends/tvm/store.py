"""Built libraries by content in the user's cache folder, so that the same model for the same target is built once."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

from pfir.devices.cached import default_cache
from pfir.devices.winograd import WAYS
from pfir.ir.model import Model
from pfir.target import Target

_KEPT = 128


def key(model: Model, target: Target, measured: str) -> str:
    """What decides a library's bytes: the model, the target, TVM, this backend's sources and what they choose by.

    Args:
        measured: What is known of kernels on the target's core.
    """
    digest = hashlib.sha256(model.to_proto().SerializeToString(deterministic=True))
    where = (repr(target.core), target.triple, target.cpu, target.features, target.threads, target.arithmetic)
    for part in (*where, WAYS, measured, _toolchain()):
        digest.update(repr(part).encode())
    return digest.hexdigest()


def find(name: str) -> tuple[bytes, tuple[str, ...]] | None:
    """The library of this key and its slow nodes, if it was built before."""
    path = _folder() / f"{name}.so"
    try:
        content = path.read_bytes()
        os.utime(path)
        slow = path.with_suffix(".slow")
        return content, tuple(slow.read_text(encoding="utf-8").split("\0")) if slow.exists() else ()
    except OSError:
        return None


def keep(name: str, library: bytes, slow: tuple[str, ...] = ()) -> None:
    """Put a library and its slow nodes there, whole or not at all; a folder that cannot be written is no failure."""
    folder = _folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if slow:  # first, since a library without it would pass for one that has none
            _put(folder / f"{name}.slow", "\0".join(slow).encode())
        _put(folder / f"{name}.so", library)
        _forget_oldest(folder)
    except OSError:
        return


def _put(path: Path, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    os.replace(file.name, path)


def _folder() -> Path:
    return default_cache() / "libraries"


def _forget_oldest(folder: Path) -> None:
    libraries = sorted(folder.glob("*.so"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in libraries[_KEPT:]:
        path.unlink(missing_ok=True)
        path.with_suffix(".slow").unlink(missing_ok=True)


@cache
def _toolchain() -> str:
    """The versions of TVM and of the linker, and this backend's own sources."""
    digest = hashlib.sha256()
    for name in ("apache-tvm", "apache-tvm-ffi", "ziglang"):
        digest.update(version(name).encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
