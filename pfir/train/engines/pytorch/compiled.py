"""A step of a shard as one function that PyTorch's compiler, Inductor, has compiled.

Forward and backward are traced into one graph of ATen operators first: the compiler itself cannot follow calls into
GraphSurgeon, whose tensors load their values when they are read.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from pfir.errors import TrainingError

Tensors = Mapping[str, Tensor]
Step = Callable[[Tensors, Tensors, Tensors], tuple[Sequence[Tensor], Sequence[Tensor | None]]]
"""Scalars and the gradient by each parameter, None where it has no say, from feeds, parameters that require gradients,
and running statistics, which are moved in place."""

APART = 0.1
"""The most that gradients of a compiled step may be apart from those before, as a share of their length: more is a
fault of the compiler. Roundings make up to 1e-3 of it."""


def why_not(device: torch.device) -> str | None:
    """Why no steps can be compiled for this device on this machine; None where they can."""
    if device.type != "cpu" and find_spec("triton") is None:
        return "Triton is not installed"
    if which(_compiler()) is None:
        return f"there is no C++ compiler {_compiler()}; install it, or name another in CXX"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "Python's headers (Python.h) are not installed"
    return None


def _compiler() -> str:
    """The C++ compiler that Inductor takes: its `config.cpp.cxx`, without the second that importing it takes."""
    return os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")


@dataclass(frozen=True)
class CompiledStep:
    """A step with feeds, parameters and statistics of fixed sizes.

    Args:
        function: Takes their tensors in this order, feeds as `feeds` has them; gives scalars, gradients, and statistics
            moved on.
        feeds: Names.
        scalars: How many of what it gives are scalars.
        reached: For each parameter whether it has a gradient.
    """

    function: Callable[..., Sequence[Tensor]]
    feeds: tuple[str, ...]
    scalars: int
    reached: tuple[bool, ...]

    def __call__(
        self, feeds: Tensors, parameters: Tensors, statistics: Tensors
    ) -> tuple[Sequence[Tensor], list[Tensor | None]]:
        """Scalars and gradients; the statistics are moved in place."""
        fed = (feeds[name] for name in self.feeds)
        with torch.no_grad():
            found = self.function(*fed, *(p.detach() for p in parameters.values()), *statistics.values())
            end = self.scalars + sum(self.reached)
            for view, moved in zip(statistics.values(), found[end:], strict=True):
                view.copy_(moved)
        gradients = iter(found[self.scalars : end])
        return found[: self.scalars], [next(gradients) if has else None for has in self.reached]


def compiled_step(eager: Step, feeds: Tensors, parameters: Tensors, statistics: Tensors) -> CompiledStep:
    """The step, compiled for tensors such as these, by the number of threads of this thread; nothing is moved.

    Raises:
        TrainingError: It cannot be traced, or the compiler fails.
    """
    told: dict[str, Any] = {}

    def step(*tensors: Tensor) -> list[Tensor]:
        rest = iter(tensors)
        fed = {name: next(rest) for name in feeds}
        leaves = {name: next(rest).detach().requires_grad_() for name in parameters}
        moved = {name: next(rest).clone() for name in statistics}
        scalars, found = eager(fed, leaves, moved)
        told["scalars"], told["reached"] = len(scalars), tuple(g is not None for g in found)
        return [*(s.detach() for s in scalars), *(g for g in found if g is not None), *moved.values()]

    given = [*feeds.values(), *(p.detach() for p in parameters.values()), *statistics.values()]
    try:
        with _silent(), torch.no_grad():
            traced = _traced(step, given)
            compiled = torch.compile(traced, dynamic=False, fullgraph=True)
            pairs = list(zip(traced(*given), compiled(*given), strict=True))
    except Exception as error:  # noqa: BLE001  (a compiler may raise anything: errors of its own, of the system, of g++)
        raise TrainingError(f"a step cannot be compiled ({_first_line(error)})") from error
    scalars, reached = told["scalars"], told["reached"]
    _check(pairs[scalars : scalars + sum(reached)])
    return CompiledStep(compiled, tuple(feeds), scalars, reached)


def _traced(step: Callable[..., list[Tensor]], given: Sequence[Tensor]) -> torch.fx.GraphModule:
    """The operators that a step consists of, backward ones among them."""
    with torch.enable_grad():
        return make_fx(step)(*given)


@contextmanager
def _silent() -> Iterator[None]:
    """PyTorch logs failures over many lines before it raises them."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _check(gradients: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Return only if compiled ones are those of before, but for roundings."""
    length = math.sqrt(sum(_square(before) for before, _ in gradients))
    apart = math.sqrt(sum(_square(after - before) for before, after in gradients))
    if not apart <= APART * length:
        raise TrainingError(f"a compiled step has other gradients: {apart:.2g} apart, and {length:.2g} long")


def _square(x: Tensor) -> float:
    return float(x.double().square().sum())


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
