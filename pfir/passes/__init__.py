"""Rewrites of a model, and the table of those that have a text form."""

from __future__ import annotations

from pfir.passes.base import Pass
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.batch_norm.reestimate import ReestimateBatchNorm
from pfir.passes.batch_norm.restore import RestoreBatchNorm
from pfir.passes.codebook.quantize_codebook import QuantizeCodebook
from pfir.passes.factorize import Factorize
from pfir.passes.pruning.prune_channels import PruneChannels
from pfir.passes.pruning.remove_dead_channels import RemoveDeadChannels
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.passes.simplification.inline_functions import InlineFunctions
from pfir.passes.simplification.simplify import Simplify
from pfir.passes.sparsity.sparsify_weights import SparsifyWeights
from pfir.passes.sparsity.store_sparse import StoreSparse

PASSES: tuple[type[Pass], ...] = (
    InlineFunctions,
    Simplify,
    FoldBatchNorm,
    RemoveDeadChannels,
    Factorize,
    PruneChannels,
    SparsifyWeights,
    QuantizeUniform,
    QuantizeCodebook,
    RestoreBatchNorm,
    ReestimateBatchNorm,
    StoreSparse,
)
