"""The boards of ncnn's benchmark page: their cores and clocks, what they took for nets, and what those nets execute."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pfir.cores import CORES, CORES_32, FP16_CORES, Core  # noqa: E402
from pfir.devices.estimation.fit import Row  # noqa: E402
from pfir.instructions import Instructions  # noqa: E402

DATA = ROOT / "benchmarks" / "data"
INT8 = "_int8"


@dataclass(frozen=True)
class Board:
    """A board of the page.

    Args:
        name: What the page of results calls it.
        text: What its heading on ncnn's page begins with.
        core: LLVM's name of the core that ran.
        ghz: Its clock: the heading's, else as the comment says.
        powersave: 1 where the small cores ran, 2 where the large ones, 0 where all are one kind.
        left_out: Why nothing is fitted to it; nothing if it is.
        floats_only: Why its int8 nets are left out; nothing if they are not.
    """

    name: str
    text: str
    core: str
    ghz: float
    powersave: int = 0
    left_out: str = ""
    floats_only: str = ""


_MATRICES = "the core multiplies matrices of bytes, which the counted code does not"
_OLD_INT8 = "an older ncnn: int8 slower than float"
BOARDS = (
    Board("Raspberry Pi 3B+", "Raspberry Pi 3 Model B+", "cortex-a53", 1.4),
    Board("Snapdragon 410", "Qualcomm MSM8916", "cortex-a53", 1.2),
    Board("Raspberry Pi Zero 2 W", "Raspberry Pi Zero 2 W", "cortex-a53", 1.0),
    Board("RK3399, small cores", "Rockchip RK3399 ", "cortex-a53", 1.5, 1),
    Board("EAIDK 310", "EAIDK 310", "cortex-a53", 1.3),
    Board("AX630C", "AXERA AX630C", "cortex-a53", 1.2),
    Board("Arduino UNO Q", "Arduino UNO Q", "cortex-a53", 2.0),
    Board("Orange Pi CM4", "OrangePicm4", "cortex-a55", 1.8),
    Board("Station M2", "Station-M2", "cortex-a55", 1.8),
    Board("Rock 3A", "Rock3A", "cortex-a55", 2.0),
    Board("Station P2", "Station P2", "cortex-a55", 2.0, floats_only=_OLD_INT8),
    Board("RK3588, small cores", "Rockchip RK3588 ", "cortex-a55", 1.8, 1, "twice as slow as RK3566 at the same clock"),
    # Tegra X1's clock in the Jetson Nano: NVIDIA's data sheet.
    Board("Jetson Nano", "NVIDIA Jetson Nano", "cortex-a57", 1.43),
    Board("Snapdragon 810", "Qualcomm MSM8994", "cortex-a57", 2.0, 2),
    Board("Jetson TX2 NX", "NVIDIA Jetson TX2 NX", "cortex-a57", 2.0, 0, "Denver 2 or Cortex-A57: not told which ran"),
    Board("Raspberry Pi 4", "Raspberry Pi 4 Model B", "cortex-a72", 1.8),
    Board("RK3399", "Rockchip RK3399 ", "cortex-a72", 1.8, 2),
    Board("Khadas VIM3", "Khadas VIM3", "cortex-a73", 2.2, 2),
    # Qualcomm's large Kryo 260 and 280 are derived from Cortex-A73, Kryo 460 and 485 from A76.
    Board("Kirin 970", "Kirin 970", "cortex-a73", 2.4, 2, floats_only=_OLD_INT8),
    Board("Snapdragon 835", "Qualcomm MSM8998", "cortex-a73", 2.45, 2, floats_only=_OLD_INT8),
    Board("Snapdragon 660", "Qualcomm SDM660", "cortex-a73", 2.2, 2, floats_only=_OLD_INT8),
    Board("Raspberry Pi 5", "Raspberry Pi 5 Broadcom BCM2712,", "cortex-a76", 2.4),
    Board("Snapdragon 855+", "Qualcomm SM8150-AC", "cortex-a76", 2.96, 2),
    Board("RK3588", "Rockchip RK3588 ", "cortex-a76", 2.4, 2, "one thread takes 3.7 times as long as four"),
    Board("Snapdragon 675", "Qualcomm MSM6150", "cortex-a76", 2.0, 0, "an older ncnn without fp16 arithmetic"),
    Board("Jetson AGX Orin", "NVIDIA Jetson AGX Orin", "cortex-a78", 2.2),
    # NVIDIA's data sheet of Jetson Orin Nano: 1.5 GHz.
    Board("Jetson Orin Nano", "NVIDIA Jetson Orin Nano", "cortex-a78", 1.5),
    Board("Radxa Orion O6", "Radxa Orion O6", "cortex-a720", 2.6, 2, floats_only=_MATRICES),
    Board("Snapdragon 8 Gen 2", "Qualcomm SM8550-AB", "cortex-x3", 3.2, 2, floats_only=_MATRICES),
    Board("Dimensity 9300", "MediaTek Dimensity 9300", "cortex-x4", 3.25, 2, floats_only=_MATRICES),
    # Azure's D64ps v6 runs on Cobalt 100. Two multiply-adds a cycle ask for 3.1 GHz and more.
    Board("Azure Cobalt 100", "Microsoft Azure Standard D64ps", "neoverse-n2", 3.4, floats_only=_MATRICES),
    Board("MacBook Pro of 2020", "MacBook Pro (13-inch, M1", "apple-m1", 3.2),
    Board("MacBook Air of 2024", "MacBook Air (13-inch, M3", "apple-m3", 4.05, floats_only=_MATRICES),
    Board("Kunpeng 920", "HUAWEI Kunpeng 920 7260", "tsv110", 2.6),
    Board("Kunpeng 920 3211K", "HUAWEI KunPeng 920 3211K", "tsv110", 2.6),
    Board("Kunpeng 920 2251K", "HUAWEI KunPeng 920 2251K", "tsv110", 2.6),
    Board("Banana Pi M2 Zero", "Banana Pi M2 Zero 2", "cortex-a7", 1.2),
    Board("i.MX7", "Freescale i.MX7", "cortex-a7", 1.0),
    Board("Zynq 7020", "Z7-Lite 7020", "cortex-a9", 0.766),
    Board("RK3288", "Rockchip RK3288", "cortex-a17", 1.8),
    Board("Hi3519", "HiSilicon Hi3519", "cortex-a17", 1.2),
)
FITTED = tuple(board for board in BOARDS if not board.left_out)

# Millions of parameters, by each net's authors.
PARAMETERS = {
    "squeezenet": 1.2,
    "mobilenet": 4.2,
    "mobilenet_v2": 3.5,
    "mobilenet_v3": 5.4,
    "shufflenet": 1.9,
    "shufflenet_v2": 2.3,
    "mnasnet": 4.4,
    "proxylessnasnet": 4.1,
    "efficientnet_b0": 5.3,
    "efficientnetv2_b0": 7.1,
    "regnety_400m": 4.3,
    "googlenet": 7.0,
    "resnet18": 11.7,
    "resnet50": 25.6,
}


def core_of(board: Board) -> Core:
    return {**CORES, **CORES_32}[board.core]


def halves(core: str) -> bool:
    """Whether ncnn computes float nets in float16 on it."""
    return core in FP16_CORES


@cache
def published() -> tuple[dict, ...]:
    """Rows of ncnn's page: board, threads, powersave, and milliseconds by net."""
    return tuple(json.loads((DATA / "ncnn_published.json").read_text())["runs"])


@cache
def counted(halved: bool) -> dict[str, Instructions]:
    """What each net executes: float16 and dot products, or float32 and long multiply-adds."""
    core = "neoverse-n1" if halved else "cortex-a72"
    rows = json.loads((DATA / "ncnn_instructions.json").read_text())["counts"]
    return {row["net"]: _instructions(row, halved) for row in rows if row["core"] == core}


def milliseconds(board: Board, threads: int = 1) -> dict[str, float]:
    """What the board took for each net whose instructions are known."""
    for row in published():
        if row["board"].startswith(board.text) and row["threads"] == threads and row["powersave"] == board.powersave:
            nets = counted(halves(board.core))
            return {net: took for net, took in row["ms"].items() if net in nets and not _unfit(board, net)}
    return {}


def rows_of(board: Board) -> Iterator[tuple[str, Row]]:
    """Its nets on one thread."""
    for net, took in milliseconds(board).items():
        count = counted(halves(board.core))[net]
        yield net, Row(count, took / 1e3, board.ghz * 1e9, board.name, waiting(board, net))


def waiting(board: Board, net: str) -> float:
    """Seconds for the weights that do not fit the second cache, at the core's bandwidth."""
    core = core_of(board)
    return max(0.0, weight_bytes(board, net) - core.l2_bytes) / core.bandwidth


def weight_bytes(board: Board, net: str) -> float:
    size = 1 if INT8 in net else 2 if halves(board.core) else 4
    return 1e6 * PARAMETERS[net.removesuffix(INT8)] * size


def arithmetic(board: Board, net: str) -> str:
    return "int8" if INT8 in net else "float16" if halves(board.core) else "float32"


def _unfit(board: Board, net: str) -> bool:
    return bool(board.floats_only) and INT8 in net


def _instructions(row: dict, halved: bool) -> Instructions:
    """The classes of the file as ours; millions become ones. What is left of all instructions is scalar."""
    floats = {"half": row["fma"]} if halved and INT8 not in row["net"] else {"multiply": row["fma"]}
    return (
        Instructions(
            **floats,
            dot=row["idot"],
            widening=row["imac"],
            vector=row["simd"] - row["fma"] - row["idot"] - row["imac"],
            load=row["load"],
            load_bytes=row["lbytes"],
            store=row["store"],
            store_bytes=row["sbytes"],
            scalar=row["n"] - row["simd"] - row["load"] - row["store"] - row["branch"],
            branch=row["branch"],
        )
        * 1e6
    )
