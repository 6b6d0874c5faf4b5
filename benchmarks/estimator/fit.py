"""Costs of every core, fitted to the figures of ncnn's benchmark page, and how far they are to be trusted.

    python benchmarks/estimator/fit.py

Writes pfir/cores/fitted.json, which the cores read, and benchmarks/results/estimator_cores.md.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.estimator import shared  # noqa: E402
from benchmarks.estimator.boards import BOARDS, FITTED, Board  # noqa: E402
from benchmarks.estimator.fitting import (  # noqa: E402
    Trial,
    boards_left_out,
    boards_of,
    core_fit,
    cores_left_out,
    keep,
    mean_error,
    nets_left_out,
    spearman,
    table,
)
from benchmarks.estimator.nets import counted  # noqa: E402
from pfir.cores import CORES  # noqa: E402
from pfir.cores.issue import FAMILIES  # noqa: E402
from pfir.devices.estimation.fit import COSTS  # noqa: E402
from pfir.devices.estimation.threads import parallel  # noqa: E402

FITTED_JSON = ROOT / "pfir" / "cores" / "fitted.json"
PAGE = ROOT / "benchmarks" / "results" / "estimator_cores.md"
NET_GOAL, BOARD_GOAL, RANK_GOAL = 0.10, 0.20, 0.97
SHORT = {"multiply": "fma", "load_byte": "byte", "store_byte": "byte", "widening": "wide"}
HEAD = """# What an instruction costs each core

Command: `python benchmarks/estimator/fit.py` (about a minute; needs no device)

Milliseconds are those of ncnn's benchmark page (benchmarks/data/ncnn_published.json), instructions those of the same
nets under the emulator (ncnn_instructions.json: float32 and long multiply-adds, or float16 and dot products where the
core has them). A core's costs are fitted by pfir/devices/estimation/fit.py: what LLVM and Arm say that it can start in
a cycle (pfir/cores/issue.py), by one factor a group of classes fitted to all boards of its family, then fitted to its
own boards with a mild pull to that. Boards of one core type share its costs; each has one factor of its own. Weights
beyond the second cache count apart, at the core's bandwidth, as many as ncnn keeps (ncnn_weights.json): 64 or 36
numbers for the nine weights of a 3x3 convolution that it transforms by Winograd.

- Int8 nets are counted with the ncnn of the month of measurement: that of December 2021 before September 2022, that of
  May 2023 before October 2023 (ncnn_versions.json), else the last one. Float nets are counted with the last one, the
  milliseconds are of several years: what lies off by more than 20 % is often a net whose code has changed since
  (EfficientNet).
- A multiply-add costs the same in float32 as in float16 on cores that have both; ncnn's float32 on them is not
  published.
- Cores of 32 bits were fitted with 64-bit counts, for want of others: their costs stand for what 32-bit code adds, too.
- Without any board: {without}.
  Neoverse N1 has the costs of Cortex-A76, whose pipelines it has; the others have those of their family.
- What was tried on the figures that are short, and the likely way on: [estimator_attempts.md](estimator_attempts.md).
"""


def main() -> None:
    found = table()
    lines = ",\n".join(f" {json.dumps(core)}: {json.dumps(told)}" for core, told in found.items())
    FITTED_JSON.write_text(f"{{\n{lines}\n}}\n")
    PAGE.write_text("\n".join(_page(found)) + "\n")
    print(f"{PAGE.relative_to(ROOT)}, {FITTED_JSON.relative_to(ROOT)}")


def _page(found: dict[str, dict]) -> Iterator[str]:
    yield HEAD.format(without=", ".join(core for core in found if not boards_of(core)))
    yield from _summary()
    yield from _boards()
    yield from _costs(found)
    yield from _threads()
    yield from _others()
    yield from _left_out()


def _summary() -> Iterator[str]:
    nets = [mean_error(_of(nets_left_out(), board)) for board in FITTED]
    boards = [mean_error(_of(boards_left_out(), board)) for board in FITTED]
    cores = [mean_error(_of(cores_left_out(), board)) for board in FITTED]
    ranks = [spearman(board) for board in FITTED]
    yield "## In short\n"
    yield "Mean errors of the estimate of a net, mean over its board's nets. A net is left out on every board at once,"
    yield "and a board's factor is then that of its other nets; a board or core type that is left out has no factor.\n"
    yield "| left out | mean of boards | boards within the goal | goal |\n|---|---|---|---|"
    yield f"| the net | {np.mean(nets):.1%} | {_share(nets, NET_GOAL)} | {NET_GOAL:.0%} |"
    yield f"| the board; its clock is known | {np.mean(boards):.1%} | {_share(boards, BOARD_GOAL)} | {BOARD_GOAL:.0%} |"
    yield f"| the core type; its clock is known | {np.mean(cores):.1%} | {_share(cores, BOARD_GOAL)} | |"
    yield f"\nRank correlation (Spearman) of a board's nets, each left out: {np.median(ranks):.3f} in the median,"
    yield f"{sum(rank >= RANK_GOAL for rank in ranks)} of {len(ranks)} boards at {RANK_GOAL} or above.\n"
    yield "By family:\n"
    yield "| cores | net left out | board left out | core type left out |\n|---|---|---|---|"
    for family, names in FAMILIES.items():
        each = [
            mean_error([trial for trial in trials() if trial.board.core in names])
            for trials in (nets_left_out, boards_left_out, cores_left_out)
        ]
        yield f"| {family} | {each[0]:.1%} | {each[1]:.1%} | {each[2]:.1%} |"


def _boards() -> Iterator[str]:
    yield "\n## By board\n"
    yield "`month`: when its figures came to the page. `factor`: what the board takes, relative to the first of its"
    yield "core, by the core's costs and its own clock. The net left out: mean by arithmetic, and the one that lies off"
    yield "most.\n"
    yield "| core | board | GHz | month | factor | float | int8 | largest | board left out | Spearman |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for board in FITTED:
        trials = _of(nets_left_out(), board)
        floats = [trial for trial in trials if trial.arithmetic != "int8"]
        whole = [trial for trial in trials if trial.arithmetic == "int8"]
        worst = max(trials, key=lambda trial: trial.error)
        factor = core_fit(board.core, keep).boards[board.name]
        ints = format(mean_error(whole), ".1%") if whole else ""
        yield (
            f"| {board.core} | {board.name} | {board.ghz:g} | {board.month} | {factor:.2f} | "
            f"{mean_error(floats):.1%} | {ints} | {worst.net} {worst.ratio - 1:+.0%} | "
            f"{mean_error(_of(boards_left_out(), board)):.1%} | {spearman(board):.3f} |"
        )


def _costs(found: dict[str, dict]) -> Iterator[str]:
    yield "\n## Costs, in cycles\n"
    yield f"| {' | '.join(['core', *(SHORT.get(name, name) for name in COSTS)])} | fp32 | fp16 | int8 |"
    yield "|---" * (len(COSTS) + 4) + "|"
    for core, told in found.items():
        errors = [_error(told["errors"], name) for name in ("float32", "float16", "int8")]
        costs = [f"{told['costs'][name]:.3g}" for name in COSTS]
        yield f"| {' | '.join([core, *costs, *errors])} |"
    yield "\nErrors with a star: this core's boards do not tell; the error of core types that were left out."


def _error(errors: dict, name: str) -> str:
    return f"{errors[name]:.0%}" + ("" if name in errors["measured"] else " *")


def _threads() -> Iterator[str]:
    yield "\n## Several threads\n"
    yield "pfir/devices/estimation/threads.py: what is moved between layers goes no faster than the bandwidth that a"
    yield "board's threads share. Errors are medians over nets on two and four threads, from what they took on one.\n"
    yield "| core | board | shared GB/s | error | by a fixed share (Amdahl) | largest |\n|---|---|---|---|---|---|"
    medians = []
    for board in FITTED:
        if rows := shared.threaded(board):
            width = shared.bandwidth(board)
            errors = shared.errors(board, width)
            at = int(np.argmax(np.abs(errors)))
            medians.append(float(np.median(np.abs(errors))))
            worst = f"{rows[at].net}, {rows[at].threads} threads {errors[at]:+.0%}"
            told = f"{medians[-1]:.1%} | {shared.amdahl(board):.1%}"
            yield f"| {board.core} | {board.name} | {width / 1e9:.3g} | {told} | {worst} |"
    yield f"\nMean of boards {np.mean(medians):.1%}, largest {max(medians):.1%}. RegNet, whose groups ncnn runs one"
    yield "after another, lies off most."


def _others() -> Iterator[str]:
    """EfficientNet-Lite on Pixel 4: the only published float32 figure of a core that has fp16, of another library."""
    same_chip = next(board for board in FITTED if board.name == "Snapdragon 855+")
    core = replace(CORES["cortex-a76"], shared_bandwidth=shared.bandwidth(same_chip))
    count, hz, threads = counted(False)["mobilenet_v2"], 2.5e9, 4
    yield "\n## Against another library\n"
    yield "TensorFlow Lite, float32, Pixel 4 (Snapdragon 855: one Cortex-A76 of 2.84 and three of 2.42 GHz, taken as"
    yield "four of 2.5), four threads (tensorflow/tpu, models/official/efficientnet/lite). The instructions are those"
    yield "of ncnn's MobileNet v2 in float32, by multiply-adds; the threads share what those of Snapdragon 855+ do.\n"
    yield "| net | million multiply-adds | published, ms | by the costs of Cortex-A76, ms |\n|---|---|---|---|"
    for name, macs, took in (("lite0", 407, 12), ("lite2", 899, 26), ("lite4", 2640, 76)):
        times = macs * 1e6 / (4 * count.multiply)
        alone = times * core.costs.cycles(count) / hz
        many = parallel(np.array([alone]), np.array([2 * times * count.store_bytes]), core, threads)
        yield f"| {name} | {macs} | {took} | {1e3 * float(many[0]):.0f} |"


def _left_out() -> Iterator[str]:
    yield "\n## What was left out\n"
    for board in BOARDS:
        if board.left_out:
            yield f"- {board.name} ({board.core}): {board.left_out}."
        elif board.floats_only:
            yield f"- int8 on {board.name} ({board.core}): {board.floats_only}."


def _of(trials: Iterable[Trial], board: Board) -> list[Trial]:
    return [trial for trial in trials if trial.board == board]


def _share(errors: list[float], goal: float) -> str:
    return f"{sum(error <= goal for error in errors)} of {len(errors)}"


if __name__ == "__main__":
    main()
