"""Counts of the emulator over a grid of kernels of one kind, kept to check what pfir says of them without building.

    python benchmarks/estimator/grid.py KIND [--only TEXT]

KIND names a module benchmarks/estimator/grids/KIND.py, whose `nets()` gives pairs of a model and the text of a target.
Every kernel of theirs that `wanted` holds for is built alone and counted. Writes benchmarks/results/counted_KIND.json,
of which a kernel that is there already is not counted again; tests/test_backends/test_tvm_counts read it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.estimator.counting import SingleKernel, counting, single_kernels  # noqa: E402
from pfir.backends.tvm.families import modelled  # noqa: E402
from pfir.target import FLOAT16, Target, parse_target, with_arithmetic  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
HALF = "+fp16"
"""What follows a target's text for float16."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind")
    parser.add_argument("--only", default="", help="count kernels whose key has this text")
    options = parser.parse_args()
    path = RESULTS / f"counted_{options.kind}.json"
    rows = json.loads(path.read_text()) if path.exists() else []
    grid, known = import_module(f"benchmarks.estimator.grids.{options.kind}"), {row["key"] for row in rows}
    with counting() as count:
        for kernel, target in kernels(grid):
            schedule = modelled(kernel.target, kernel.workload) if kernel.workload else None
            key = key_of(target, kernel, schedule)
            if key in known or options.only not in key:
                continue
            known.add(key)
            rows.append(row(key, target, kernel, schedule, count(kernel.build(), kernel.view)))
            print(key, rows[-1]["counted"], flush=True)
            path.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


def kernels(grid) -> Iterator[tuple[SingleKernel, str]]:
    for model, target in grid.nets():
        for kernel in single_kernels(model, target_of(target)):
            if grid.wanted(kernel):
                yield kernel, target


def target_of(text: str) -> Target:
    """The target of a text, `+fp16` at its end standing for that arithmetic."""
    target = parse_target(text.removesuffix(HALF))
    return with_arithmetic(target, FLOAT16) if text.endswith(HALF) else target


def key_of(target: str, kernel: SingleKernel, schedule) -> str:
    """What tells a kernel from others; one without a workload by what it reads, too."""
    read = "" if kernel.workload else f" of {[f'{form.shape} {form.order}' for form in kernel.forms.values()]}"
    given = "" if kernel.workload else f" {dict(kernel.group.head.attrs)}"
    return f"{target} | {kernel.name}{read}{given} | {schedule} | {asdict(kernel.tail)}"


def row(key: str, target: str, kernel: SingleKernel, schedule, counted) -> dict[str, object]:
    head = kernel.group.head
    return {
        "key": key,
        "target": target,
        "node": head.op,
        "shapes": [list(tensor.shape) for tensor in (*head.inputs, *head.outputs) if tensor.shape is not None],
        "orders": [list(form.order) for form in kernel.forms.values()],
        "attributes": {name: list(v) if isinstance(v, (list, tuple)) else v for name, v in head.attrs.items()},
        "workload": asdict(kernel.workload) if kernel.workload else None,
        "schedule": str(schedule) if schedule else None,
        "tail": asdict(kernel.tail),
        "counted": list(counted.values),
    }


if __name__ == "__main__":
    main()
