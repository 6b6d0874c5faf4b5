"""Built libraries by content in the user's cache folder, so that the same model for the same target is built once."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from pfir.artifact import LinkedConstants
from pfir.devices.emulation.cached import default_cache
from pfir.ir.model import Model
from pfir.system.checksum import opened, sealed
from pfir.target import Target

_KEPT = 128
_SEAL = ".seal"
"""The ending of the file beside a library that has its facts and the checksum of both."""


@dataclass(frozen=True)
class Built:
    """A library and what its build found out.

    Args:
        library: Its bytes.
        constants: How it holds them.
        slow: The nodes that no kernel of ours computes.
    """

    library: bytes
    constants: LinkedConstants
    slow: tuple[str, ...] = ()

    def facts(self) -> bytes:
        """All but the library, as text."""
        return json.dumps({"constants": asdict(self.constants), "slow": self.slow}).encode()


def key(model: Model, target: Target, measured: str, byte_s: float) -> str:
    """What decides a library's bytes: the model, the target, TVM, this backend's sources and what they choose by.

    Args:
        measured: What is known of kernels on the target's core.
        byte_s: What a byte of the library is worth.
    """
    digest = hashlib.sha256(model.to_proto().SerializeToString(deterministic=True))
    where = (repr(target.core), target.triple, target.cpu, target.features, target.threads, target.arithmetic.name)
    for part in (*where, measured, byte_s, _toolchain()):
        digest.update(repr(part).encode())
    return digest.hexdigest()


def find(name: str, note: Callable[[str], None] | None = None) -> Built | None:
    """The library of this key, if it was built before and is still what was built.

    Args:
        note: Told where the entry is damaged.
    """
    path = _folder() / f"{name}.so"
    try:
        seal, library = _read(path.with_suffix(_SEAL)), path.read_bytes()
        os.utime(path)
    except OSError:
        return None
    facts = opened(seal, library)
    if facts is not None:
        found = json.loads(facts)
        return Built(library, LinkedConstants(**found["constants"]), tuple(found["slow"]))
    if note is not None:
        note(f"the library {path} in the cache is damaged; it is built anew")
    return None


def keep(name: str, built: Built) -> None:
    """Put a library and its facts there, whole or not at all; a folder that cannot be written is no failure."""
    folder = _folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # First, since a library without its seal would pass for a damaged one.
        _put(folder / f"{name}{_SEAL}", sealed(built.facts(), built.library))
        _put(folder / f"{name}.so", built.library)
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
    for path in sorted(path for path in Path(__file__).parents[1].rglob("*") if path.suffix in (".py", ".c")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
