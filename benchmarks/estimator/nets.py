"""What ncnn's nets took on the boards of its page, what they execute there, and the weights that they read."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.estimator.boards import Board, core_of, halves  # noqa: E402
from pfir.devices.estimation.fit import Row  # noqa: E402
from pfir.instructions import Instructions  # noqa: E402

DATA = ROOT / "benchmarks" / "data"
INT8 = "_int8"
TILES_4 = "2021-02"
"""Since this month (ab56083) ncnn has Winograd's tiles of 4x4; before, all were of 6x6."""
INT8_DOTS = "2023-10"
"""Since this month (80b3b9c) it transforms no int8 weights where the core has dot products."""
NOW = ""
_VERSIONS = (("2022-09", "2021-12"), (INT8_DOTS, "2023-05"))
"""The month before which a version stands for what was measured, and that version: the former month lies halfway
between the two, in the latter int8 changed."""
_TILE_6, _TILE_4 = 64 / 9, 36 / 9
"""Numbers that Winograd's transform makes of one weight."""
_TRANSFORMED_BYTES = 2
"""Of a number that it makes of a weight of 8 bits."""


@cache
def published() -> tuple[dict, ...]:
    """Rows of ncnn's page: board, threads, powersave, and milliseconds by net."""
    return tuple(json.loads((DATA / "ncnn_published.json").read_text())["runs"])


@cache
def counted(halved: bool, version: str = NOW) -> dict[str, Instructions]:
    """What each net executes: float16 and dot products, or float32 and long multiply-adds.

    Args:
        halved: Whether it is the former.
        version: Of ncnn, where it has int8 nets of its own; float nets are always those of the present one.
    """
    core = "neoverse-n1" if halved else "cortex-a72"
    found = {row["net"]: _instructions(row, halved) for row in _counts("ncnn_instructions") if row["core"] == core}
    older = [row for row in _counts("ncnn_versions") if (row["core"], row["version"]) == (core, version)]
    return found | {row["net"]: _instructions(row, halved) for row in older if INT8 in row["net"]}


def counted_on(board: Board) -> dict[str, Instructions]:
    """What each net executes on a board, int8 by the version of ncnn that stands for its month."""
    version = next((version for before, version in _VERSIONS if board.month < before), NOW)
    return counted(halves(board.core), version)


def milliseconds(board: Board, threads: int = 1) -> dict[str, float]:
    """What the board took for each net whose instructions are known."""
    for row in published():
        if row["board"].startswith(board.text) and row["threads"] == threads and row["powersave"] == board.powersave:
            nets = counted_on(board)
            return {net: took for net, took in row["ms"].items() if net in nets and not _unfit(board, net)}
    return {}


def rows_of(board: Board) -> Iterator[tuple[str, Row]]:
    """Its nets on one thread."""
    counts = counted_on(board)
    for net, took in milliseconds(board).items():
        yield net, Row(counts[net], took / 1e3, board.ghz * 1e9, board.name, waiting(board, net))


def waiting(board: Board, net: str) -> float:
    """Seconds for the weights that do not fit the second cache, at the core's bandwidth."""
    core = core_of(board)
    return max(0.0, weight_bytes(board, net) - core.l2_bytes) / core.bandwidth


def weight_bytes(board: Board, net: str) -> float:
    """Of a net's weights as the ncnn of the board's time keeps them."""
    kept = _weights()[net.removesuffix(INT8)]
    if INT8 in net:
        return _int8_bytes(board, **kept)
    numbers = kept["few"] * _TILE_6
    numbers += (kept["many"] + kept["wide"]) * (_TILE_6 if board.month < TILES_4 else _TILE_4)
    return (kept["plain"] + numbers) * (2 if halves(board.core) else 4)


def arithmetic(board: Board, net: str) -> str:
    return "int8" if INT8 in net else "float16" if halves(board.core) else "float32"


def _int8_bytes(board: Board, plain: int, few: int, many: int, wide: int) -> float:
    """Transformed where the core has no dot products; until `INT8_DOTS`, the widest layers also where it has."""
    transformed = few + many + wide
    if halves(board.core):
        transformed = wide if board.month < INT8_DOTS else 0
    return plain + few + many + wide + transformed * (_TILE_4 * _TRANSFORMED_BYTES - 1)


@cache
def _weights() -> dict[str, dict[str, int]]:
    """By net: the weights that ncnn keeps as they are, and those of layers that it transforms, by their channels."""
    rows = json.loads((DATA / "ncnn_weights.json").read_text())["weights"]
    return {row["net"]: {name: row[name] for name in ("plain", "few", "many", "wide")} for row in rows}


def _counts(name: str) -> list[dict]:
    return json.loads((DATA / f"{name}.json").read_text())["counts"]


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
