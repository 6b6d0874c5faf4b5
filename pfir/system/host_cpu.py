"""The processor of this machine, as a core with LLVM's name for it."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from functools import cache
from pathlib import Path

from pfir.cores import CORES, CORES_32, X86_LEVELS, Core
from pfir.cores.x86 import x86_costs

_AVX512 = {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512cd"}
_ZEN4 = _AVX512 | {"avx512_vnni", "avx512_bf16", "avx512vbmi", "avx512_vbmi2", "gfni", "vaes", "sha_ni"}
_LEVELS = (
    ("x86-64-v4", _AVX512 | {"avx2", "fma", "bmi2", "movbe"}),
    ("x86-64-v3", {"avx2", "fma", "bmi1", "bmi2", "f16c", "movbe"}),
    ("x86-64-v2", {"ssse3", "sse4_1", "sse4_2", "popcnt"}),
)
# MIDR part numbers of implementer 0x41, from Arm's technical reference manuals; Cortex-A78AE counts as A78.
_ARM_PARTS = {
    "0xc07": "cortex-a7",
    "0xc09": "cortex-a9",
    "0xc0e": "cortex-a17",
    "0xd03": "cortex-a53",
    "0xd05": "cortex-a55",
    "0xd07": "cortex-a57",
    "0xd08": "cortex-a72",
    "0xd09": "cortex-a73",
    "0xd0b": "cortex-a76",
    "0xd0c": "neoverse-n1",
    "0xd40": "neoverse-v1",
    "0xd41": "cortex-a78",
    "0xd42": "cortex-a78",
    "0xd44": "cortex-x1",
    "0xd49": "neoverse-n2",
    "0xd4e": "cortex-x3",
    "0xd80": "cortex-a520",
    "0xd81": "cortex-a720",
    "0xd82": "cortex-x4",
}


def usable_cores() -> int:
    """How many cores this process may use, which containers and `taskset` make fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def host_core() -> Core:
    """The core this process runs on; its name is one that LLVM's `mcpu` takes."""
    text = _read("/proc/cpuinfo")
    fields = cpu_fields(text)
    if platform.machine() in ("x86_64", "AMD64", "i686"):
        return _x86(fields)
    if platform.system() == "Darwin":
        return CORES["apple-m1"]
    return {**CORES, **CORES_32}[_ARM_PARTS.get(fields.get("CPU part", ""), "cortex-a72")]


def host_triple() -> str:
    """LLVM's triple of this machine."""
    machine = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    if platform.system() == "Darwin":
        return f"{machine.replace('aarch64', 'arm64')}-apple-macosx11.0"
    if platform.system() == "Windows":
        return f"{machine}-pc-windows-msvc"
    return f"{machine}-linux-gnueabihf" if machine.startswith("armv7") else f"{machine}-linux-gnu"


def cpu_fields(text: str) -> dict[str, str]:
    """The first processor's fields of a /proc/cpuinfo."""
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def x86_name(fields: dict[str, str]) -> str:
    """LLVM's name for an x86 processor: its family where that is safe, else the highest level that its flags allow.

    A virtual machine may hide features, so a family counts only if its vector features are there.
    """
    flags = set(fields.get("flags", "").split())
    vendor, family, model = fields.get("vendor_id"), fields.get("cpu family"), int(fields.get("model", "0") or 0)
    if vendor == "AuthenticAMD" and family == "25" and flags >= _ZEN4:
        return "znver4"
    if vendor == "GenuineIntel" and family == "6" and flags >= _AVX512 | {"avx2", "fma"}:
        known = {85: "skylake-avx512", 106: "icelake-server"}
        if model in known and (model == 85 or {"avx512_vnni", "avx512vbmi", "gfni"} <= flags):
            return known[model]
    return next((name for name, needed in _LEVELS if needed <= flags), "x86-64")


def _x86(fields: dict[str, str]) -> Core:
    name = x86_name(fields)
    flags = set(fields.get("flags", "").split())
    level = next((level for level, needed in _LEVELS if needed <= flags), "x86-64")
    core = X86_LEVELS[level]
    # Intel's server cores carry two 512-bit FMA units; Zen 4 runs one at half rate on two 256-bit ones.
    macs = 32 if name in ("skylake-avx512", "icelake-server") else core.macs_per_cycle
    clock = _clock_hz(fields)
    l2 = _cache_bytes(2) or core.l2_bytes
    about = "/proc/cpuinfo of this machine"
    core = replace(core, name=name, macs_per_cycle=macs, clock_hz=clock, l2_bytes=l2, source=about)
    measured = fields.get("vendor_id") == "AuthenticAMD" and fields.get("cpu family") == "25"
    errors = core.errors if measured else core.errors.of_another_board
    return replace(core, fitted=x86_costs(core.vector_bytes, macs), errors=errors)


def _cache_bytes(level: int) -> int:
    """The size of a data cache of the first processor; 0 where the system does not tell."""
    text = _read(f"/sys/devices/system/cpu/cpu0/cache/index{level}/size").strip()
    return int(text[:-1]) * 1024 if text.endswith("K") and text[:-1].isdigit() else 0


def _clock_hz(fields: dict[str, str]) -> float:
    khz = _read("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq").strip()
    if khz.isdigit():
        return float(khz) * 1e3
    try:
        return float(fields["cpu MHz"]) * 1e6
    except (KeyError, ValueError):
        return X86_LEVELS["x86-64"].clock_hz


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace") if os.path.exists(path) else ""
    except OSError:
        return ""
