"""The boards of ncnn's benchmark page: their cores, clocks and months, and what is left out and why."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pfir.cores import CORES, CORES_32, FP16_CORES, Core  # noqa: E402


@dataclass(frozen=True)
class Board:
    """A board of the page.

    Args:
        name: What the page of results calls it.
        text: What its heading on ncnn's page begins with.
        core: LLVM's name of the core that ran.
        ghz: Its clock: the heading's, else as the comment says.
        month: When its figures came to the page: `git blame` of ncnn's benchmark/README.md at a4d2ea1.
        powersave: 1 where the small cores ran, 2 where the large ones, 0 where all are one kind.
        left_out: Why nothing is fitted to it; nothing if it is.
        floats_only: Why its int8 nets are left out; nothing if they are not.
    """

    name: str
    text: str
    core: str
    ghz: float
    month: str
    powersave: int = 0
    left_out: str = ""
    floats_only: str = ""


_MATRICES = "the core multiplies matrices of bytes, which the counted code does not"
# ncnn lets a thread run on each core above the mean of the fastest and the slowest clock (src/cpu.cpp).
_MIDDLE = "not told which ran: ncnn's threads may take a Cortex-A715, too, and Cortex-A720's times are met within 5 %"
_SLOW = "twice as slow as RK3566 at the same clock"
_DENVER = "Denver 2 or Cortex-A57: not told which ran"
_SINGLE = "an older ncnn without fp16 arithmetic"
_OLD_INT8 = "an older ncnn: int8 slower than float"
BOARDS = (
    Board("Raspberry Pi 3B+", "Raspberry Pi 3 Model B+", "cortex-a53", 1.4, "2023-06"),
    Board("Snapdragon 410", "Qualcomm MSM8916", "cortex-a53", 1.2, "2022-01"),
    Board("Raspberry Pi Zero 2 W", "Raspberry Pi Zero 2 W", "cortex-a53", 1.0, "2022-01"),
    Board("RK3399, small cores", "Rockchip RK3399 ", "cortex-a53", 1.5, "2022-01", 1),
    Board("EAIDK 310", "EAIDK 310", "cortex-a53", 1.3, "2022-01"),
    Board("AX630C", "AXERA AX630C", "cortex-a53", 1.2, "2024-07"),
    Board("Arduino UNO Q", "Arduino UNO Q", "cortex-a53", 2.0, "2025-12"),
    Board("Orange Pi CM4", "OrangePicm4", "cortex-a55", 1.8, "2024-07"),
    Board("Station M2", "Station-M2", "cortex-a55", 1.8, "2023-08"),
    Board("Rock 3A", "Rock3A", "cortex-a55", 2.0, "2022-01"),
    Board("Station P2", "Station P2", "cortex-a55", 2.0, "2021-08", floats_only=_OLD_INT8),
    Board("RK3588, small cores", "Rockchip RK3588 ", "cortex-a55", 1.8, "2022-05", 1, _SLOW),
    # Tegra X1's clock in the Jetson Nano: NVIDIA's data sheet.
    Board("Jetson Nano", "NVIDIA Jetson Nano", "cortex-a57", 1.43, "2022-01"),
    Board("Snapdragon 810", "Qualcomm MSM8994", "cortex-a57", 2.0, "2022-06", 2),
    Board("Jetson TX2 NX", "NVIDIA Jetson TX2 NX", "cortex-a57", 2.0, "2023-12", 0, _DENVER),
    Board("Raspberry Pi 4", "Raspberry Pi 4 Model B", "cortex-a72", 1.8, "2023-06"),
    Board("RK3399", "Rockchip RK3399 ", "cortex-a72", 1.8, "2022-01", 2),
    Board("Khadas VIM3", "Khadas VIM3", "cortex-a73", 2.2, "2022-01", 2),
    # Qualcomm's large Kryo 260 and 280 are derived from Cortex-A73, Kryo 460 and 485 from A76.
    Board("Kirin 970", "Kirin 970", "cortex-a73", 2.4, "2020-06", 2, floats_only=_OLD_INT8),
    Board("Snapdragon 835", "Qualcomm MSM8998", "cortex-a73", 2.45, "2020-06", 2, floats_only=_OLD_INT8),
    Board("Snapdragon 660", "Qualcomm SDM660", "cortex-a73", 2.2, "2020-06", 2, floats_only=_OLD_INT8),
    Board("Raspberry Pi 5", "Raspberry Pi 5 Broadcom BCM2712,", "cortex-a76", 2.4, "2023-12"),
    Board("Snapdragon 855+", "Qualcomm SM8150-AC", "cortex-a76", 2.96, "2024-06", 2),
    Board("RK3588", "Rockchip RK3588 ", "cortex-a76", 2.4, "2022-05", 2, "one thread takes 3.7 times as long as four"),
    Board("Snapdragon 675", "Qualcomm MSM6150", "cortex-a76", 2.0, "2019-06", 0, _SINGLE),
    Board("Jetson AGX Orin", "NVIDIA Jetson AGX Orin", "cortex-a78", 2.2, "2022-04"),
    # NVIDIA's data sheet of Jetson Orin Nano: 1.5 GHz.
    Board("Jetson Orin Nano", "NVIDIA Jetson Orin Nano", "cortex-a78", 1.5, "2023-12"),
    Board("Radxa Orion O6", "Radxa Orion O6", "cortex-a720", 2.6, "2025-03", 2, floats_only=_MATRICES),
    Board("Snapdragon 8 Gen 2", "Qualcomm SM8550-AB", "cortex-x3", 3.2, "2023-11", 2, _MIDDLE),
    Board("Dimensity 9300", "MediaTek Dimensity 9300", "cortex-x4", 3.25, "2024-01", 2, floats_only=_MATRICES),
    # Azure's D64ps v6 runs on Cobalt 100. Two multiply-adds a cycle ask for 3.1 GHz and more.
    Board("Azure Cobalt 100", "Microsoft Azure Standard D64ps", "neoverse-n2", 3.4, "2026-03", floats_only=_MATRICES),
    Board("MacBook Pro of 2020", "MacBook Pro (13-inch, M1", "apple-m1", 3.2, "2021-07"),
    Board("MacBook Air of 2024", "MacBook Air (13-inch, M3", "apple-m3", 4.05, "2025-04", floats_only=_MATRICES),
    Board("Kunpeng 920", "HUAWEI Kunpeng 920 7260", "tsv110", 2.6, "2024-08"),
    Board("Kunpeng 920 3211K", "HUAWEI KunPeng 920 3211K", "tsv110", 2.6, "2023-07"),
    Board("Kunpeng 920 2251K", "HUAWEI KunPeng 920 2251K", "tsv110", 2.6, "2023-06"),
    Board("Banana Pi M2 Zero", "Banana Pi M2 Zero 2", "cortex-a7", 1.2, "2022-01"),
    Board("i.MX7", "Freescale i.MX7", "cortex-a7", 1.0, "2022-01"),
    Board("Zynq 7020", "Z7-Lite 7020", "cortex-a9", 0.766, "2022-01"),
    Board("RK3288", "Rockchip RK3288", "cortex-a17", 1.8, "2022-01"),
    Board("Hi3519", "HiSilicon Hi3519", "cortex-a17", 1.2, "2018-08"),
)
FITTED = tuple(board for board in BOARDS if not board.left_out)


def core_of(board: Board) -> Core:
    return {**CORES, **CORES_32}[board.core]


def halves(core: str) -> bool:
    """Whether ncnn computes float nets in float16 on it."""
    return core in FP16_CORES
