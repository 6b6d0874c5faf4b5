"""A run up to its search, on the small net, for tests of what comes after."""

from __future__ import annotations

from pathlib import Path

from pfir.compile.flow import _setting
from pfir.compile.measuring.evaluator import Evaluator
from pfir.compile.preflight import check_early
from pfir.compile.run_context import RunContext
from pfir.compile.selection.searching import SearchContext, search_context_for, with_branches
from pfir.compile.stages import Stages
from pfir.devices import open_device
from pfir.report.progress import Silent
from tests.support.jobs import request


def run_context(model: Path, **options) -> RunContext:
    """The model, its samples and all else that a run of it starts with."""
    asked = request(model, Path("unused"), **options)
    return _setting(asked, check_early(asked, print), Stages(Silent()), Silent())


def search_context(model: Path, **options) -> SearchContext:
    """What `pfir compile` would search on."""
    start = run_context(model, **options)
    evaluator = Evaluator(start.backend, open_device(None, start.target), start.target, start.request)
    return with_branches(
        search_context_for(start.original, start.original.pruning, start.request, evaluator, start.samples)
    )
