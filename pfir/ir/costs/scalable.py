"""Kernels as functions of channel counts: what a pruned model would cost, without building it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pfir.artifact import Kernel
from pfir.errors import UsageError
from pfir.ir.costs.kernels import Plan, family_at, plan_kernels
from pfir.ir.costs.model_cost import known_sizes, weights_of
from pfir.ir.costs.storage import SizeTerm, storage_of
from pfir.ir.costs.symbolic_cost import Dim, Term, axes
from pfir.ir.model import Model
from pfir.ir.whole import sized_everywhere


class ScalableKernels:
    """The kernels of a model for any number of kept channels; equal to `kernels` of the model pruned so.

    Args:
        model: Its dynamic sizes are taken as in `fix_sizes`.
        counts: (tensor, axis) to the axis' width as fixed positions plus positions per kept channel of each group, as
            `pfir.ir.coupling.channels.channel_counts` gives it: objects with `fixed` and `per_channel`, or pairs of the
            two. Axes that are not in it keep their width.
        input_shapes: Full shapes by input name, as for `fix_sizes`.
    """

    def __init__(
        self, model: Model, counts: Mapping[Dim, object], input_shapes: Mapping[str, Sequence[int]] | None = None
    ) -> None:
        graph = sized_everywhere(model, input_shapes).graph
        sizes = known_sizes(graph)
        self._widths = _Widths(sizes, {d: _pair(c) for d, c in counts.items() if d[0] in sizes})
        plans = plan_kernels(graph)
        self._kernels = _Sums(self._widths, [q for p in plans for q in (p.macs, p.read(), p.written())])
        self._channels = _Lookups(self._widths, [d for p in plans for d in _channel_dims(p)])
        self._plans = [replace(p, inputs={}, outputs={}) for p in plans]  # tensors of a graph cannot be pickled
        weights = weights_of(graph)
        parameters = [Term(1, axes(w)) for w in weights]
        size_bytes = [term for w in weights for term in storage_of(w).terms(w)]
        self._totals = _Sums(self._widths, [[t for p in plans for t in p.macs], parameters, size_bytes])

    def at(self, kept: Mapping[str, int]) -> tuple[Kernel, ...]:
        """The kernels when group g keeps `kept[g]` channels; a group that is not named keeps all.

        What writes nothing is not there, nor what sums over nothing: when a branch is gone, its Add joins what comes
        before it.

        Raises:
            UsageError: `kept` names a group that the model lacks.
        """
        widths = self._widths.at(kept)
        quantities = self._kernels.at(widths).reshape(-1, 3).tolist()
        channels = self._channels.at(widths).reshape(-1, 3).tolist()
        return tuple(
            Kernel(plan.name, family_at(plan.family, each_in, total), *costs, out, each_in)
            for plan, costs, (out, each_in, total) in zip(self._plans, quantities, channels, strict=True)
            if _is_there(plan, costs[0], costs[2])
        )

    def macs_at(self, kept: Mapping[str, int]) -> int:
        """Multiply-accumulates, as in `model_cost`."""
        return int(self._totals.at(self._widths.at(kept))[0])

    def parameters_at(self, kept: Mapping[str, int]) -> int:
        """Elements of the weights, as in `model_cost`; but what layers share counts as often as it is read."""
        return int(self._totals.at(self._widths.at(kept))[1])

    def size_bytes_at(self, kept: Mapping[str, int]) -> int:
        """Bytes of the weights; what layers share counts as often as it is read."""
        return int(self._totals.at(self._widths.at(kept))[2])


def _is_there(plan: Plan, macs: int, written: int) -> bool:
    return written > 0 and (macs > 0 or not plan.macs)


def _pair(count: object) -> tuple[int, Mapping[str, int]]:
    if isinstance(count, tuple):
        return count
    return count.fixed, count.per_channel


def _channel_dims(plan: Plan) -> tuple[Dim | None, Dim | None, Dim | None]:
    return plan.channels_out, plan.channels_in, plan.channels_total


class _Widths:
    """Every width that depends on kept channels, once, as a row of a matrix; row 0 is the constant 1."""

    def __init__(self, sizes: dict[str, tuple[int, ...]], counts: dict[Dim, tuple[int, Mapping[str, int]]]) -> None:
        self.sizes = sizes
        self.groups = sorted({g for _, per in counts.values() for g in per})
        self.row: dict[Dim, int] = {}
        rows: dict[tuple, int] = {(1, ()): 0}
        for dim, (fixed, per) in counts.items():
            self.row[dim] = rows.setdefault((fixed, tuple(sorted(per.items()))), len(rows))
        self._fixed = np.array([fixed for fixed, _ in rows], np.int64)
        self._per = np.zeros((len(rows), len(self.groups)), np.int64)
        for (_, per), i in rows.items():
            for group, positions in per:
                self._per[i, self.groups.index(group)] = positions
        self._full = self._solve(sizes, counts)
        self._known = set(self.groups)

    def at(self, kept: Mapping[str, int]) -> np.ndarray:
        """All rows [R] when group g keeps `kept[g]` channels."""
        if not self._known.issuperset(kept):
            raise UsageError(f"group {min(set(kept) - self._known)!r} is none of this model's groups")
        full = self._full
        channels = np.fromiter((kept.get(g, f) for g, f in zip(self.groups, full, strict=True)), np.int64, len(full))
        return self._fixed + self._per @ channels

    def _solve(self, sizes: dict[str, tuple[int, ...]], counts: dict[Dim, tuple[int, Mapping[str, int]]]) -> np.ndarray:
        """The channels of each group [G] that give the model's own widths; some groups never have an axis alone."""
        widths = np.ones(len(self._fixed))
        for tensor, axis in counts:
            widths[self.row[tensor, axis]] = sizes[tensor][axis]
        solution = np.linalg.lstsq(self._per.astype(np.float64), widths - self._fixed, rcond=None)[0]
        return np.rint(solution).astype(np.int64)

    def product(self, term: Term | SizeTerm) -> tuple[float, list[int]]:
        """A term as a number times rows."""
        scale, rows = float(term.scale), []
        for dim in term.dims:
            if dim in self.row:
                rows.append(self.row[dim])
            else:
                scale *= self.sizes[dim[0]][dim[1]]
        return scale, rows


class _Sums:
    """Many sums of products of widths, evaluated together."""

    def __init__(self, widths: _Widths, sums: Iterable[Sequence[Term | SizeTerm]]) -> None:
        sums = list(sums)
        self._count = len(sums)
        products = [(at, *widths.product(term)) for at, terms in enumerate(sums) for term in terms]
        deepest = max((len(rows) for _, _, rows in products), default=0)
        self._slot = np.array([at for at, _, _ in products], np.int64)
        self._scale = np.array([scale for _, scale, _ in products], np.float64)
        padded = [rows + [0] * (deepest - len(rows)) for _, _, rows in products]
        self._rows = np.array(padded, np.int64).reshape(len(products), deepest)

    def at(self, widths: np.ndarray) -> np.ndarray:
        """int64 [sums]; exact below 2^53."""
        values = self._scale * widths[self._rows].prod(axis=1, dtype=np.float64)
        return np.bincount(self._slot, values, self._count).astype(np.int64)


@dataclass(frozen=True)
class _Lookup:
    row: int
    value: int


class _Lookups:
    """Single widths: rows, or numbers where a width is fixed; 0 where there is none."""

    def __init__(self, widths: _Widths, dims: list[Dim | None]) -> None:
        found = [_lookup(widths, d) for d in dims]
        self._row = np.array([f.row for f in found], np.int64)
        self._factor = np.array([f.value for f in found], np.int64)

    def at(self, widths: np.ndarray) -> np.ndarray:
        return widths[self._row] * self._factor


def _lookup(widths: _Widths, dim: Dim | None) -> _Lookup:
    if dim is None:
        return _Lookup(0, 0)
    if dim in widths.row:
        return _Lookup(widths.row[dim], 1)
    return _Lookup(0, widths.sizes[dim[0]][dim[1]])
