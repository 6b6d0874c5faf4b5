"""Whether torch.compile pays: processor time of a step as it is and compiled, and what compiling takes.

    python benchmarks/training/compiled_steps.py [--models DIR] [--batch 32] [--steps 10] [--only NAME ...]

Forward and backward of a shard are traced into one graph of ATen operators, which Inductor compiles with the C++
compiler that it finds (CXX names another). Both run on one thread, in turn. Needs the extra `torch`. Prints a line a
network.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.training.engines import with_batch_norm  # noqa: E402
from benchmarks.training.plain import NETS  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher  # noqa: E402
from pfir.train.canonical.batch import with_batch  # noqa: E402
from pfir.train.engines.pytorch.graph import Calls, calls_of  # noqa: E402

Tensors = dict[str, torch.Tensor]
Step = Callable[..., list[torch.Tensor]]


def main() -> None:
    arguments = _arguments()
    torch.set_num_threads(1)
    for name in arguments.only:
        step, given = _step(arguments, name)
        began, used = time.perf_counter(), _used_s()
        compiled = _compiled(step, given)
        compiled(*given)
        taken, used = time.perf_counter() - began, _used_s() - used
        apart = max(float((a - b).abs().max()) for a, b in zip(step(*given), compiled(*given), strict=True))
        plain_s, compiled_s = _medians((step, compiled), given, arguments.steps)
        print(
            f"{name}: {1e3 * plain_s:.1f} ms of processor time as it is, {1e3 * compiled_s:.1f} compiled "
            f"({compiled_s / plain_s:.2f}); compiling took {taken:.0f} s ({used:.0f} s of processor time); "
            f"largest difference {apart:.1e}",
            flush=True,
        )


def _arguments() -> argparse.Namespace:
    shared = Path(os.environ.get("PFIR_SHARED", ROOT.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=shared / "models")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--only", nargs="*", choices=NETS, default=list(NETS))
    return parser.parse_args()


def _step(arguments: argparse.Namespace, name: str) -> tuple[Step, list[torch.Tensor]]:
    """A function of all tensors that a step reads, which gives scalars and gradients; and these tensors."""
    net, random = NETS[name], np.random.default_rng(0)
    model = load(arguments.models / net.file)
    (taken,) = model.inputs()
    images = random.normal(size=(arguments.batch, *taken.shape[1:])).astype(np.float32)
    graph = attach_teacher(with_batch_norm(model, {taken.name: images}), None, DistillationSettings(label_weight=1.0))
    feeds = {taken.name: images, graph.labels: np.arange(arguments.batch) % net.classes}
    sized = with_batch(graph.model, {n: x.shape for n, x in feeds.items()})
    calls = calls_of(replace(graph, model=sized))
    constants = {n: _laid_out(torch.from_numpy(np.array(x))) for n, x in calls.constants.items()}
    held = {**calls.statistics, **feeds, **calls.parameters}
    names, learnt = list(held), len(calls.parameters)

    def step(*tensors: torch.Tensor) -> list[torch.Tensor]:
        return _differentiated(calls, {**constants, **dict(zip(names, tensors, strict=True))}, learnt)

    return step, [_laid_out(torch.from_numpy(np.array(x))) for x in held.values()]


def _differentiated(calls: Calls, known: Tensors, learnt: int) -> list[torch.Tensor]:
    """Scalars and gradients, where the last tensors are what is learnt."""
    leaves = {name: x.detach().requires_grad_() for name, x in list(known.items())[-learnt:]}
    copies = {name: known[name].clone() for name in calls.statistics}
    scalars = calls.run({**known, **copies, **leaves})
    found = torch.autograd.grad(scalars[0], list(leaves.values()))
    return [*(s.detach() for s in scalars), *found]


def _compiled(step: Step, given: list[torch.Tensor]) -> Step:
    from torch.fx.experimental.proxy_tensor import make_fx

    return torch.compile(make_fx(step)(*given), dynamic=False)


def _laid_out(x: torch.Tensor) -> torch.Tensor:
    images = x.dim() == 4 and x.is_floating_point()
    return x.contiguous(memory_format=torch.channels_last) if images else x


def _medians(sides: tuple[Step, ...], given: list[torch.Tensor], steps: int) -> list[float]:
    taken: list[list[float]] = [[] for _ in sides]
    for _ in range(steps):
        for side, seconds in zip(sides, taken, strict=True):
            began = time.process_time()
            side(*given)
            seconds.append(time.process_time() - began)
    return [float(np.median(seconds)) for seconds in taken]


def _used_s() -> float:
    """Seconds of the processor, of this process and of compilers that it ran."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    main()
