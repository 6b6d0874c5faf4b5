"""The teacher's answers from the kernels that a backend makes of it for this machine, where training is long enough."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np

from pfir.artifact import Artifact
from pfir.backends.base import Backend
from pfir.devices.host import HostDevice
from pfir.errors import CompileError, UsageError
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.system.host_cpu import usable_cores
from pfir.target import parse_target
from pfir.train.feeding.source import VIEWS
from pfir.train.feeding.teacher import Answers
from pfir.train.settings import Settings

HOST = "host"
GAINING, SAVED_S = "conv3x3", 8e-12
"""The family of kernels that are faster than ONNX Runtime's, and seconds that a multiply-accumulate of theirs takes
less: ResNet-20, 40 million of them, 0.45 ms of processor time in place of 0.79. A MobileNet gains nothing, 0.34 and
0.25."""
BUILD_S = 0.5
"""Seconds that a different kernel takes to build: ResNet-56 7 s, EfficientNet-Lite0 13 s."""
WORTH = 2.0
"""How many times what is saved on one core must be what the build takes."""
LEAST_SHARE = 0.1
"""A larger share of a limited time is not spent on building."""
MOST_PROCESSES = 8

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class CompiledTeacher:
    """Makes what answers for a teacher.

    Args:
        backend: Compiles it.
        jobs: Processes that answer; None for one per core.
        sizes: Of inputs whose shape the model leaves open, by name.
    """

    backend: Backend
    jobs: int | None = None
    sizes: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @contextmanager
    def __call__(self, teacher: Model, samples: int, settings: Settings) -> Iterator[Answers | None]:
        """What computes what the teacher does, as long as the context is open; None where ONNX Runtime does as well.

        Whether it pays follows from sizes alone, so that the same training has the same answers everywhere.

        Args:
            samples: Of an epoch.
        """
        artifact = self._built(teacher, samples, settings)
        if artifact is None:
            yield None
            return
        with ExitStack() as stack:
            count = min(self.jobs or usable_cores(), MOST_PROCESSES)
            devices = [stack.enter_context(HostDevice()) for _ in range(count)]
            pool = stack.enter_context(ThreadPoolExecutor(count))
            yield lambda inputs: _answers(artifact, devices, pool, inputs)

    def _built(self, teacher: Model, samples: int, settings: Settings) -> Artifact | None:
        """A library for one sample; None where it does not pay, or cannot be."""
        if self.backend.is_onnxruntime:
            return None
        host = parse_target(HOST)
        try:
            model = fix_sizes(teacher, 1, self.sizes)
            if not _takes_one(model) or not self._pays(model, answered(samples, settings), settings.time_budget_s):
                return None
            return self.backend.build(model, host)
        except (CompileError, UsageError):
            return None

    def _pays(self, model: Model, answers: int, budget_s: float | None) -> bool:
        kernels = self.backend.kernels(model, parse_target(HOST))
        build_s = BUILD_S * len({(k.workload, k.tail) for k in kernels})
        saved_s = SAVED_S * answers * sum(k.macs for k in kernels if k.family == GAINING)
        return saved_s > WORTH * build_s and (budget_s is None or build_s < LEAST_SHARE * budget_s)


def answered(samples: int, settings: Settings) -> int:
    """How many samples a teacher answers for in a training with so many of them an epoch."""
    if settings.renew:
        return settings.epochs * samples
    return samples * (1 if settings.augment == "none" else min(settings.epochs, VIEWS))


def _takes_one(model: Model) -> bool:
    """Whether one sample goes in and comes out along the first axis of everything."""
    return all(spec.shape[:1] == (1,) for spec in (*model.inputs(), *model.outputs()))


def _answers(artifact: Artifact, devices: Sequence[HostDevice], pool: ThreadPoolExecutor, inputs: Arrays) -> Arrays:
    """The outputs for all samples, of which each device gets a part."""
    count = len(next(iter(inputs.values())))
    cuts = np.linspace(0, count, min(len(devices), count) + 1).astype(int)
    parts = [{name: x[a:b] for name, x in inputs.items()} for a, b in zip(cuts, cuts[1:], strict=False)]
    found = list(pool.map(HostDevice.run_each, devices, repeat(artifact), parts))
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}
