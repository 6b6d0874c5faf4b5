"""An emulator that counts the instructions it executes: QEMU with a plugin, set up on first use."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import struct
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from pfir.devices.emulation.apt import PrivateApt, run, unpack
from pfir.devices.emulation.cached import made_once
from pfir.errors import DeviceError
from pfir.instructions import CLASSES
from pfir.system.children import environment, run_module
from pfir.system.scratch import scratch_folder

RECIPE = 3
_PACKAGE, _PROGRAM = "qemu-user", "usr/bin/qemu-aarch64"
_PLUGIN = "count_instructions.so"
# glibc of Debian 10: older than any that the emulator may be linked to.
_ZIG_TARGET = "{}-linux-gnu.2.28"
# All instructions, then those of each class and their bytes.
_NUMBERS = struct.Struct(f"={1 + len(CLASSES)}Q")


@dataclass(frozen=True)
class CountingEmulator:
    """A finished set-up; it carries its own C library, so that nothing depends on this machine's."""

    folder: Path

    @contextmanager
    def counter(self):
        """Gives the start of a command line, and a function that reads how many instructions it has executed so far:
        all of them, then by class as in `Instructions.values`."""
        native = self.folder / "native"
        loader = next(native.glob("lib*/ld-linux-*"))
        libraries = sorted({str(path.parent) for path in native.glob("**/lib*.so*")})
        with scratch_folder() as folder:
            path = folder / "count"
            path.write_bytes(bytes(_NUMBERS.size))
            plugin = f"{self.folder / _PLUGIN},into={path}"
            yield (
                (str(loader), "--library-path", os.pathsep.join(libraries), str(native / _PROGRAM), "-plugin", plugin),
                lambda: np.array(_NUMBERS.unpack(path.read_bytes()), np.int64),
            )


def counting_emulator(cache: Path, progress: Callable[[str], None], offline: bool = False) -> CountingEmulator:
    """The set-up in this cache folder, made where it does not exist yet or is damaged (half a minute).

    Raises:
        DeviceError: It cannot be made here; Debian 13's emulators, linked statically, take no plugins.
    """
    source = files("pfir.devices.emulation").joinpath("count_instructions.c").read_bytes()
    key = hashlib.sha256(f"{RECIPE}".encode() + source).hexdigest()[:12]
    folder = cache / f"counting-{key}"
    return CountingEmulator(made_once(folder, lambda work: _make(work, source, progress), progress, offline))


def _make(work: Path, source: bytes, progress: Callable[[str], None]) -> None:
    progress("emulated device: fetches about 40 MB: QEMU with its libraries, to count instructions; once")
    apt = PrivateApt(work / "apt")
    apt.update()
    native = work / "native"
    for package in apt.download(_with_libraries(apt, apt.first_known(_PACKAGE)), work / "debs"):
        unpack(package, native)
    _keep_one_program(native)
    shutil.rmtree(work / "debs")
    shutil.rmtree(work / "apt")
    _compile(source, work)


def _with_libraries(apt: PrivateApt, package: str) -> list[str]:
    """A package and the libraries that it needs, directly or not."""
    names = [package]
    for name in names:
        names += [n for n in dict.fromkeys(apt.depends(name)) if n.startswith(("lib", "zlib")) and n not in names]
    return names


def _keep_one_program(native: Path) -> None:
    program = native / _PROGRAM
    if not program.exists() or b"ld-linux" not in program.read_bytes()[:4096]:
        raise DeviceError(f"the package {_PACKAGE} has no dynamically linked emulator, and no other takes plugins")
    kept = native / "kept"
    program.rename(kept)
    for name in ("bin", "share", "sbin", "libexec"):
        shutil.rmtree(native / "usr" / name, ignore_errors=True)
    program.parent.mkdir()
    kept.rename(program)
    # Newer packages leave these links to the installer.
    for name in ("lib", "lib64"):
        if not (native / name).exists() and (native / "usr" / name).exists():
            (native / name).symlink_to(f"usr/{name}")


def _compile(source: bytes, work: Path) -> None:
    path = work / "count_instructions.c"
    path.write_bytes(source)
    target = _ZIG_TARGET.format(platform.machine())
    options = ["-target", target, "-shared", "-fPIC", "-O2", "-s", "-o", str(work / _PLUGIN), str(path)]
    caches = {f"ZIG_{kind}_CACHE_DIR": str(work.parent / "zig") for kind in ("GLOBAL", "LOCAL")}
    run(run_module("ziglang", "cc", *options), env=environment(**caches), name="zig cc")
