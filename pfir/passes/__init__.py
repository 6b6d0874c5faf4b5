"""Rewrites of a model, and the table of those that have a text form."""

from __future__ import annotations

from pfir.passes.base import Pass
from pfir.passes.fold_batch_norm import FoldBatchNorm
from pfir.passes.inline_functions import InlineFunctions
from pfir.passes.prune_channels import PruneChannels
from pfir.passes.reestimate_batch_norm import ReestimateBatchNorm
from pfir.passes.remove_dead_channels import RemoveDeadChannels
from pfir.passes.restore_batch_norm import RestoreBatchNorm
from pfir.passes.simplify import Simplify

PASSES: tuple[type[Pass], ...] = (
    InlineFunctions,
    Simplify,
    FoldBatchNorm,
    RemoveDeadChannels,
    PruneChannels,
    RestoreBatchNorm,
    ReestimateBatchNorm,
)
