"""A run up to its search, on the small net, for tests of what comes after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from pfir.compile.flow import loaded
from pfir.compile.measuring.evaluator import Evaluator
from pfir.compile.methods.channels import ChannelPruning, PrunedChannels
from pfir.compile.preflight import check_early
from pfir.compile.run_context import RunContext
from pfir.compile.selection.search_context import SearchContext, search_context_for
from pfir.compile.selection.searching import Found, kept_as
from pfir.compile.stages import Stages
from pfir.devices import open_device
from pfir.passes.pruning.prune_channels import PruneChannels
from pfir.report.progress import Silent
from tests.support.jobs import request


def run_context(model: Path, **options) -> RunContext:
    """The model, its samples and all else that a run of it starts with."""
    asked = request(model, Path("unused"), **options)
    return loaded(asked, check_early(asked, print), Stages(Silent()), Silent())


def search_context(model: Path, **options) -> SearchContext:
    """What `pfir compile` would search on."""
    start = run_context(model, **options)
    evaluator = Evaluator(start.backend, open_device(None, start.target), start.target, start.request)
    return search_context_for(start.prepared, start.request, evaluator, start.samples).ranked()


def channels(found: SearchContext) -> ChannelPruning:
    """The method of a context that has one, which prunes channels."""
    (method,) = found.pricing.methods
    return method


def with_pruning(found: SearchContext, pruning: PruneChannels) -> SearchContext:
    """The context of a run whose --passes name this pass."""
    methods = (replace(channels(found), pruning=pruning),)
    return replace(found, candidates=replace(found.candidates, pricing=found.pricing.of(methods)))


def without(found: SearchContext, removed: Mapping[str, np.ndarray]) -> Found:
    """The candidate without these channels."""
    return kept_as(found, (PrunedChannels(channels(found).coupling, removed),))
