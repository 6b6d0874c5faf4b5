"""Linking a shared library for any Linux target with the C compiler of the ziglang wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from pfir.devices.emulation.cached import default_cache
from pfir.errors import CompileError, UsageError
from pfir.system.children import environment, run_module
from pfir.system.scratch import lasting_folder

# glibc of Debian 10 and manylinux_2_28: older than what any of our targets' TVM wheels need.
ZIG_TRIPLES = {
    "x86_64": "x86_64-linux-gnu.2.28",
    "aarch64": "aarch64-linux-gnu.2.28",
    "arm": "arm-linux-gnueabihf.2.28",
}

C_OPTIONS = ("-O2", "-ffp-contract=off", "-fno-sanitize=undefined")
"""How C source is compiled: each operation is rounded, and zig adds no checks of its own."""

_FULL = re.compile("no ?space ?left", re.IGNORECASE)


def linker(triple: str) -> Callable[..., None]:
    """A function that links object files and C source into a library for an LLVM triple, as `export_library` wants it.

    Raises:
        CompileError: There is no way to link for this architecture.
    """
    zig = zig_triple(triple)

    def link(output: str, objects: str | list[str], options: list[str] | None = None, **_) -> None:
        files = [objects] if isinstance(objects, str) else list(objects)
        _zig_cc(zig, ["-shared", "-fPIC", "-s", *C_OPTIONS, "-o", output, *files, *(options or [])])

    link.output_format = "so"
    link.object_format = "o"
    link.get_target_triple = lambda: triple
    return link


def zig_triple(triple: str) -> str:
    """Zig's name for an LLVM triple of Linux.

    Raises:
        CompileError: The architecture is not one of those that pfir builds for.
    """
    architecture = triple.partition("-")[0]
    family = "arm" if architecture.startswith("armv7") else architecture
    if family not in ZIG_TRIPLES:
        raise CompileError(f"target triple {triple}: the tvm backend builds for {', '.join(ZIG_TRIPLES)} on Linux")
    return ZIG_TRIPLES[family]


def _zig_cc(triple: str, arguments: list[str]) -> None:
    command = run_module("ziglang", "cc", "-target", triple, *arguments)
    kept = default_cache() / "zig"
    if _writable(kept) and _fault(command, kept) is None:
        return
    fresh = lasting_folder("zig")
    fault = _fault(command, fresh)
    if fault is not None and _FULL.search(fault):
        where = fresh.parent.parent
        raise UsageError(f"linking for {triple} failed: no space left in {where}; free some, or set TMPDIR")
    if fault is not None:
        raise CompileError(f"linking for {triple} failed: {fault}")
    # The same command works with an empty cache: the kept one is damaged, and is made anew by the next process.
    shutil.rmtree(kept, ignore_errors=True)


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _fault(command: tuple[str, ...], cache: Path) -> str | None:
    """Why the compiler failed with this cache; None where it did not."""
    caches = {f"ZIG_{kind}_CACHE_DIR": str(cache) for kind in ("GLOBAL", "LOCAL")}
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment(**caches))
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"zig left with {done.returncode}"
