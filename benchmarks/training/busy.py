"""How many cores the README's main command keeps busy, stage by stage.

    python benchmarks/training/busy.py [--pfir COMMAND] [--work DIR] [OPTIONS OF pfir compile ..]

Runs the command of README.md with `pfir` of the path, on an idle machine, and looks at the processor time of its
processes twice a second. Stages are those of report.json. Writes benchmarks/results/training_busy.md.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
INTERVAL_S = 0.5
MISSED = 4
"""The exit code where the goal was not met; the report is there."""
HEAD = """\
# Cores that the README's main command keeps busy

By `python benchmarks/training/busy.py` on {cores} cores: processor time of all its processes over time, by stage.

    {command}

| stage | seconds | cores busy |
|---|---:|---:|
"""


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        out = (arguments.work or Path(folder)) / "busy"
        command = [arguments.pfir, *_options(), *arguments.more, "-o", str(out)]
        times, busy = _watched(command)
        report = json.loads((out / "report.json").read_text())
    (RESULTS / "training_busy.md").write_text(_page(command, report, times, busy))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pfir", default="pfir")
    parser.add_argument("--work", type=Path, help="keeps the output folder")
    arguments, more = parser.parse_known_args()
    arguments.more = more
    return arguments


def _options() -> list[str]:
    """The words of the README's main command behind `pfir`, without its output folder."""
    found = re.search(r"bin/pfir (compile examples/.*) -o out", (ROOT / "README.md").read_text())
    assert found, "README.md has no main command"
    return shlex.split(found[1])


def _watched(command: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Seconds since the start, and processor time in seconds that the command had used by then."""
    process = psutil.Popen(command, cwd=ROOT)
    began, times, busy = time.perf_counter(), [0.0], [0.0]
    used: dict[tuple[int, float], float] = {}
    while process.poll() is None:
        time.sleep(INTERVAL_S)
        used |= _processor_times(process)
        times.append(time.perf_counter() - began)
        busy.append(sum(used.values()))
    if process.returncode not in (0, MISSED):
        raise SystemExit(f"{shlex.join(command)} ended with {process.returncode}")
    return np.array(times), np.array(busy)


def _processor_times(process: psutil.Process) -> dict[tuple[int, float], float]:
    """Of a process and those that it started, by number and start."""
    found = {}
    try:
        everyone = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return {}
    for each in everyone:
        try:
            of = each.cpu_times()
            found[each.pid, each.create_time()] = of.user + of.system
        except psutil.NoSuchProcess:
            continue
    return found


def _page(command: list[str], report: dict, times: np.ndarray, busy: np.ndarray) -> str:
    lines, began = [], 0.0
    for stage in report["stages"]:
        ended = began + stage["seconds"]
        if stage["seconds"] >= 1:
            cores = (np.interp(ended, times, busy) - np.interp(began, times, busy)) / stage["seconds"]
            lines.append(f"| {stage['name']} | {stage['seconds']:.0f} | {cores:.2f} |\n")
        began = ended
    lines.append(f"| all | {times[-1]:.0f} | {busy[-1] / times[-1]:.2f} |\n")
    shown = shlex.join(["pfir", *command[1:-2]])
    return HEAD.format(cores=psutil.cpu_count(), command=shown) + "".join(lines)


if __name__ == "__main__":
    main()
