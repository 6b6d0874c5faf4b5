"""How long a search waits for the estimates of its candidates."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.estimator.counted_nets import prepared
from benchmarks.estimator.grid import target_of
from pfir.backends.tvm.backend import TvmBackend
from pfir.compile.methods.channels import ChannelPruning
from pfir.ir.costs.scalable import ScalableKernels
from pfir.ir.coupling.channels import channel_counts, channel_groups
from pfir.passes.pruning.prune_channels import HIGHEST_RATIO, RATIO, PruneChannels

CANDIDATES, REPEATS = 10_000, 3


def seconds(path: Path, target: str, align: int) -> float:
    """Process time of the estimates of `CANDIDATES` pruned variants of a model, the least of `REPEATS` processes, in
    which nothing was estimated before.

    Args:
        path: The model.
        target: Its text.
        align: What widths are multiples of.
    """
    found = []
    for _ in range(REPEATS):
        with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
            found.append(fresh.submit(once, path, target, align).result())
    return min(found)


def once(path: Path, target: str, align: int) -> float:
    """Process time of the estimates, by an estimator that knows nothing yet; every group of channels of a candidate
    loses a share of its own, up to the largest that a search tries."""
    model, on, backend, random = prepared(path), target_of(target), TvmBackend(), np.random.default_rng(0)
    coupling = channel_groups(model)
    scalable = ScalableKernels(model, channel_counts(coupling), grouping=backend.grouping(on)(model))
    method = ChannelPruning(model, coupling, scalable, PruneChannels(align=align))
    names = [RATIO + name for name in method.groups]
    shares = random.uniform(0, HIGHEST_RATIO, (CANDIDATES, len(names)))
    kept = [method.kept(dict(zip(names, row, strict=True))) for row in shares]
    estimator, begin = backend.estimator(on), time.process_time()
    for widths in kept:
        estimator.estimate_widths(scalable, widths)
    return time.process_time() - begin
