"""The Arm cores that pfir can cost, each with the board that it stands for.

Peaks: 128-bit FMLA instructions that start in a cycle times four lanes (`pfir.cores.issue`). Clocks are those of the
boards named (of the Raspberry Pi: raspberrypi.com/documentation/computers/processors.html); caches are theirs, too, or
assumed where the source says so. Bandwidths are rounded figures for one core streaming, about half of what the chip's
memory carries in theory: assumptions, within the stated error. What several cores share was fitted, where figures for
several threads are published.
"""

from __future__ import annotations

from pfir.cores.fits import fitted_costs, fitted_errors, shared_bandwidth
from pfir.cores.issue import ISSUE
from pfir.cores.records import GB, GHZ, KIB, Core

_PI = "raspberrypi.com/documentation"


def _arm(name: str, board: str, ghz: float, gb_s: float, caches_kib: tuple[int, int], source: str) -> Core:
    return Core(
        name,
        macs_per_cycle=4 * ISSUE[name].multiplies,
        clock_hz=ghz * GHZ,
        bandwidth=gb_s * GB,
        vector_bytes=16,
        vector_registers=16 if name in _ONLY_32_BITS else 32,
        l1_bytes=caches_kib[0] * KIB,
        l2_bytes=caches_kib[1] * KIB,
        source=source,
        shared_bandwidth=shared_bandwidth(name) or _SHARED * gb_s * GB,
        board=board,
        fitted=fitted_costs(name),
        errors=fitted_errors(name),
    )


# Of the bandwidth of one core, where no board's threads tell more: rounded, of those that do.
_SHARED = 2
_ONLY_32_BITS = ("cortex-a7", "cortex-a9", "cortex-a17")

CORES: dict[str, Core] = {
    core.name: core
    for core in (
        # Second-level cache: Linux, bcm2837.dtsi.
        _arm("cortex-a53", "Raspberry Pi 3B+", 1.4, 2.0, (32, 512), f"LLVM's SchedA53; BCM2837B0: {_PI}"),
        _arm("cortex-a55", "Orange Pi CM4", 1.8, 5.0, (32, 128), "LLVM's SchedA55; RK3566; caches assumed"),
        _arm("cortex-a57", "Jetson Nano", 1.43, 5.0, (32, 2048), "LLVM's SchedA57; Tegra X1: WikiChip"),
        _arm("cortex-a72", "Raspberry Pi 4", 1.8, 4.0, (32, 1024), f"LLVM's SchedA57; BCM2711: {_PI}"),
        _arm("cortex-a73", "Khadas VIM3", 2.2, 5.0, (32, 1024), "LLVM's SchedA57; A311D; caches assumed"),
        _arm("cortex-a76", "Raspberry Pi 5", 2.4, 9.0, (64, 512), f"Arm's SOG; BCM2712: {_PI}"),
        _arm("cortex-a78", "Jetson AGX Orin", 2.2, 12.0, (32, 512), "anandtech.com/show/15813; caches assumed"),
        _arm("cortex-a520", "Orion O6, small cores", 1.8, 8.0, (32, 512), "Arm's SOG; clock and caches assumed"),
        _arm("cortex-a720", "Radxa Orion O6", 2.6, 20.0, (64, 512), "Arm's SOG; caches assumed"),
        _arm("cortex-x1", "Snapdragon 888", 2.84, 20.0, (64, 1024), "anandtech.com/show/15813"),
        _arm("cortex-x3", "Snapdragon 8 Gen 2", 3.2, 20.0, (64, 1024), "Arm's SOG; caches assumed"),
        _arm("cortex-x4", "Dimensity 9300", 3.25, 25.0, (64, 1024), "Arm's SOG; caches assumed"),
        _arm("neoverse-n1", "AWS Graviton2", 2.5, 20.0, (64, 1024), "LLVM's SchedNeoverseN1; WikiChip"),
        _arm(
            "neoverse-n2", "Azure Cobalt 100", 3.4, 20.0, (64, 1024), "LLVM's SchedNeoverseN2; clock and caches assumed"
        ),
        # Four 128-bit pipes, as in Cortex-X1, or two of 256 bits for SVE.
        _arm("neoverse-v1", "AWS Graviton3", 2.6, 25.0, (64, 1024), "LLVM's SchedNeoverseV1; WikiChip"),
        _arm("apple-m1", "MacBook Pro of 2020", 3.2, 50.0, (128, 12288), "D. Johnson's measurements; Wikipedia"),
        _arm("apple-m3", "MacBook Air of 2024", 4.05, 50.0, (128, 16384), "as Apple M1; Wikipedia"),
        _arm("tsv110", "Kunpeng 920", 2.6, 15.0, (64, 512), "LLVM's SchedTSV110; WikiChip"),
    )
}

CORES_32: dict[str, Core] = {
    core.name: core
    for core in (
        _arm("cortex-a7", "Banana Pi M2 Zero", 1.2, 1.0, (32, 512), "LLVM's ARMScheduleA7; Allwinner H2+"),
        _arm("cortex-a9", "Zynq 7020", 0.766, 1.0, (32, 512), "LLVM's ARMScheduleA9; Z7-Lite"),
        _arm("cortex-a17", "RK3288", 1.8, 2.0, (32, 1024), "LLVM's ARMScheduleA9; caches assumed"),
    )
}
"""Cores of 32 bits only."""

# Armv8.2-A with FEAT_FP16 (LLVM's `fullfp16`): multiply-adds of eight float16 values in a 128-bit instruction.
FP16_CORES = (
    "cortex-a55",
    "cortex-a76",
    "cortex-a78",
    "cortex-a520",
    "cortex-a720",
    "cortex-x1",
    "cortex-x3",
    "cortex-x4",
    "neoverse-n1",
    "neoverse-n2",
    "neoverse-v1",
    "apple-m1",
    "apple-m3",
    "tsv110",
)
# Armv8.2-A with FEAT_DotProd (`dotprod`), of which LLVM says that the same cores have it.
DOT_CORES = FP16_CORES
# Armv8.6-A with FEAT_I8MM (`i8mm`): products of 2x8 by 8x2 bytes.
I8MM_CORES = ("cortex-a520", "cortex-a720", "cortex-x3", "cortex-x4", "neoverse-n2", "neoverse-v1")
