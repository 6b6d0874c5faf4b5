"""Where a search begins: a few candidates that a person would try first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pfir.compile.methods.branch_ranking import BRANCHES
from pfir.ir.coupling.groups import Branch, Group
from pfir.passes.pruning.prune_channels import HIGHEST_RATIO, RATIO

SHARES = (0.3, 0.5, 0.7)
DEPTHS = (0.25, 0.5, 0.75, 1.0)
"""Shares of the branches that may go."""


def warm_starts(
    groups: Mapping[str, Group], branches: Sequence[Branch], importance: Mapping[str, np.ndarray]
) -> tuple[dict[str, float], ...]:
    """The same share everywhere; one threshold for the channels of all groups; both again with wide-read groups whole;
    and where branches may go, two of these again with more and more of them gone.

    What many layers read, such as the channels of a residual stream, costs all of them when it shrinks: a network keeps
    more of its function if channels that one layer reads go instead (ResNet-56 at 2.5x, fitted layer by layer: 91.7
    against 83.6 % of held-out images).

    Args:
        groups: Those that may be pruned, by name.
        branches: Those that may go.
        importance: Group name to one score a channel.
    """
    uniform = {RATIO + g: 0.5 for g in groups}
    starts = [uniform, *(_below(importance, share) for share in SHARES)]
    if spared := wide_read(groups):
        narrow = {g: s for g, s in importance.items() if g not in spared}
        whole = {RATIO + g: 0.0 for g in spared}
        starts += [uniform | whole, *(_below(narrow, share) | whole for share in SHARES)]
    if not branches:
        return tuple(starts)
    same, *ranked = starts[-1 - len(SHARES) :]
    counts = sorted({round(share * len(branches)) for share in DEPTHS} - {0})
    shallow = [start | {BRANCHES: float(n)} for n in counts for start in (same, ranked[len(ranked) // 2])]
    return (*(start | {BRANCHES: 0.0} for start in starts), *shallow)


def wide_read(groups: Mapping[str, Group]) -> frozenset[str]:
    """The groups that more layers contract over than over the median group."""
    readers = {name: len(group.consumers) for name, group in groups.items()}
    typical = np.median(list(readers.values()))
    return frozenset(name for name, count in readers.items() if count > typical)


def _below(importance: Mapping[str, np.ndarray], share: float) -> dict[str, float]:
    """Global ranking: this share of all channels goes, wherever they are."""
    threshold = np.quantile(np.concatenate(list(importance.values())), share)
    return {RATIO + g: min(HIGHEST_RATIO, float(np.mean(s < threshold))) for g, s in importance.items()}
