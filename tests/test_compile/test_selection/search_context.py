"""A run up to its search, on the small net, for tests of what comes after."""

from __future__ import annotations

from pathlib import Path

from pfir.compile.flow import _setting
from pfir.compile.measuring.evaluator import Judge
from pfir.compile.preflight import check_early
from pfir.compile.run_context import Setting
from pfir.compile.selection.searching import Ground, ground_for, with_branches
from pfir.compile.stages import Stages
from pfir.devices import open_device
from pfir.report.progress import Silent
from tests.support.jobs import request


def setting(model: Path, **options) -> Setting:
    """The model, its samples and all else that a run of it starts with."""
    asked = request(model, Path("unused"), **options)
    return _setting(asked, check_early(asked, print), Stages(Silent()), Silent())


def ground(model: Path, **options) -> Ground:
    """What `pfir compile` would search on."""
    start = setting(model, **options)
    judge = Judge(start.backend, open_device(None, start.target), start.target, start.request)
    return with_branches(ground_for(start.original, start.original.pruning, start.request, judge, start.samples))
