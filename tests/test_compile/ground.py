"""The ground of a search on the small net, for tests of what stands on it."""

from __future__ import annotations

from pathlib import Path

from pfir.compile.judge import Judge
from pfir.compile.prepare import fixed, open_backend, prepare
from pfir.compile.samples import open_samples
from pfir.compile.searching import Ground, ground_for
from pfir.devices import open_device
from pfir.target import parse_target
from tests.jobs import request


def ground(model: Path, **options) -> Ground:
    """What `pfir compile` would search on."""
    asked = request(model, Path("unused"), **options)
    target = parse_target(asked.target)
    original = prepare(asked, target.lanes)
    samples = open_samples(asked, fixed(original.start, asked))
    judge = Judge(open_backend(asked.backend), open_device(None, target), target, asked)
    return ground_for(original, original.pruning, asked, judge, samples)
