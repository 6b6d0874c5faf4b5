"""Channel pruning, analysed on a model: its groups, and where data are at hand what its channels are worth."""

from __future__ import annotations

from pfir.compile.methods.channels import ChannelPruning, demand_free, scalable_kernels
from pfir.compile.methods.sizing import Sizing
from pfir.compile.request import Request
from pfir.ir.coupling.channels import channel_groups
from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.pruning.criteria import scores
from pfir.passes.pruning.moments import collect
from pfir.passes.pruning.prune_channels import PruneChannels


def analysed_pruning(
    pruning: PruneChannels, model: Model, request: Request, sizing: Sizing, context: Context | None
) -> ChannelPruning:
    """The method for a model.

    Args:
        sizing: How a model is looked at to be priced.
        context: Activations and gradients, to choose channels by; None where channels are only counted.

    Raises:
        UsageError: `--keep` or `--only` names a node that the model lacks.
        Infeasible: No channel may be removed.
    """
    coupling = channel_groups(model, request.keep, request.only)
    demand_free(coupling)
    scalable = scalable_kernels(model, coupling, sizing)
    if context is None:
        return ChannelPruning(model, coupling, scalable, pruning)
    statistics = collect(model, coupling, context)
    importance = scores(model, coupling, pruning.criterion, context, statistics)
    return ChannelPruning(model, coupling, scalable, pruning, importance, statistics)
