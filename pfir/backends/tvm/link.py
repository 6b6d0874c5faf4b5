"""Linking a shared library for any Linux target with the C compiler of the ziglang wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pfir.errors import CompileError

# glibc of Debian 10 and manylinux_2_28: older than what any of our targets' TVM wheels need.
ZIG_TRIPLES = {
    "x86_64": "x86_64-linux-gnu.2.28",
    "aarch64": "aarch64-linux-gnu.2.28",
    "arm": "arm-linux-gnueabihf.2.28",
}


def cache_folder() -> Path:
    """Where pfir keeps what it can make again: `$XDG_CACHE_HOME/pfir`, else `~/.cache/pfir`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "pfir"


def linker(triple: str) -> Callable[..., None]:
    """A function that links object files into a library for an LLVM triple, as `export_library` wants it.

    Raises:
        CompileError: There is no way to link for this architecture.
    """
    zig = zig_triple(triple)

    def link(output: str, objects: str | list[str], options: list[str] | None = None, **_) -> None:
        files = [objects] if isinstance(objects, str) else list(objects)
        _zig_cc(zig, ["-shared", "-fPIC", "-s", "-O1", "-o", output, *files, *(options or [])])

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
    folder = cache_folder() / "zig"
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(folder), "ZIG_LOCAL_CACHE_DIR": str(folder)}
    command = [sys.executable, "-m", "ziglang", "cc", "-target", triple, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise CompileError(f"linking for {triple} failed: {lines[-1] if lines else f'zig left with {done.returncode}'}")
