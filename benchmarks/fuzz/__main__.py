"""Run cases: `python -m benchmarks.fuzz --seed 7 --cases 1000 --kind families`.

    --case N     only this case, with all that it says
    --keep DIR   a folder for each faulty case: its files, its stderr, and where it was
    --results    write the tables of benchmarks/results/fuzz.md, whose sections stay

Each case is a process of its own, in an empty folder; cases are made so that none fetches anything.
"""

from __future__ import annotations

import argparse
import gc
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.fuzz.base import make_base
from benchmarks.fuzz.kinds import KINDS, counts
from benchmarks.fuzz.runner import Runner
from benchmarks.fuzz.summary import Summary
from benchmarks.fuzz.verdict import Verdict
from benchmarks.fuzz.warm import import_heavy, warm_up

RESULTS = Path(__file__).resolve().parents[1] / "results" / "fuzz.md"


def main() -> None:
    options = _options()
    kinds = options.kind or list(KINDS)
    summary = Summary()
    scratch = Path(tempfile.mkdtemp(prefix="pfir-fuzz-", dir=options.scratch))  # no object that a forked process ends
    try:
        for verdict in verdicts(options, kinds, scratch):
            summary.add(verdict)
            if verdict.fault or options.case is not None:
                print(_line(verdict), flush=True)
    finally:  # an interrupted run tells what it has seen
        shutil.rmtree(scratch, ignore_errors=True)
        text = summary.text(options.seed)
        print(text)
        if options.results:
            _, head, rest = (RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "").partition("\n## ")
            RESULTS.write_text(text + head + rest, encoding="utf-8")
    raise SystemExit(1 if summary.faults else 0)


def verdicts(options: argparse.Namespace, kinds: list[str], scratch: Path) -> Iterator[Verdict]:
    """Of all cases that are asked for."""
    warm_up(scratch)
    base = make_base(scratch / "base", node_tests="nodes" in kinds)
    runner = Runner(base, scratch / "cases", options.seed, options.keep)
    chosen = counts(options.cases, kinds).items()
    cases = [(k, n) for k, count in chosen for n in (range(count) if options.case is None else (options.case,))]
    random.Random(options.seed).shuffle(cases)  # so that a run that is interrupted has seen something of each kind
    for heavy in (False, True):
        if heavy:
            import_heavy()
        gc.freeze()
        yield from runner.run([c for c in cases if KINDS[c[0]].heavy == heavy], options.jobs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cases", type=int, default=1000, help="in all, shared out among the kinds")
    parser.add_argument("--kind", choices=list(KINDS), action="append", help="may be repeated; default: all")
    parser.add_argument("--case", type=int, help="only this one, of --kind")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--scratch", type=Path, help="where to work; default: the machine's temporary folder")
    parser.add_argument("--results", action="store_true")
    return parser.parse_args()


def _line(found: Verdict) -> str:
    return (
        f"{found.kind} {found.number}: {found.fault or 'fine'} | exit {found.code}, {found.cpu_s:.2f} s, "
        f"{found.peak_bytes >> 20} MB | {' '.join(found.words)[:160]} | {found.note} | {found.text[:200]}"
    )


if __name__ == "__main__":
    main()
