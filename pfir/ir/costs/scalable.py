"""Kernels as functions of channel counts: what a pruned model would cost, without building it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pfir.artifact import Kernel
from pfir.errors import UsageError
from pfir.ir.costs.grouping import Grouping
from pfir.ir.costs.kernels import plan_kernels
from pfir.ir.costs.model_cost import known_sizes, weights_of
from pfir.ir.costs.plans import Plan, kernel_of
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
        grouping: As for `plan_kernels`.
    """

    def __init__(
        self,
        model: Model,
        counts: Mapping[Dim, object],
        input_shapes: Mapping[str, Sequence[int]] | None = None,
        grouping: Grouping | None = None,
    ) -> None:
        graph = sized_everywhere(model, input_shapes).graph
        sizes = known_sizes(graph)
        self._widths = _Widths(sizes, {d: _pair(c) for d, c in counts.items() if d[0] in sizes})
        plans = plan_kernels(graph, grouping)
        self._costs = _Sums(self._widths, [terms for p in plans for terms in p.costs()])
        self._sizes = [[_lookup(self._widths, d) for d in (*p.data, *p.out, p.channels_in)] for p in plans]
        self._keys = _Keys(self._widths, plans)
        # Nodes and tensors of a graph cannot be pickled.
        self._plans = [replace(p, nodes=[], inputs={}, outputs={}) for p in plans]
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
        costs, sizes = self._costs.at(widths).reshape(-1, _COSTS).tolist(), widths.tolist()
        return tuple(self._kernel(place, sizes, costs[place]) for place, _ in self._keys.at(widths))

    def total(self, kept: Mapping[str, int], price: Callable[[Kernel], Price], known: dict[Key, Price]) -> Price:
        """The sums of both parts of a price over the same kernels.

        Args:
            price: Of one kernel; asked for those whose sizes are new.
            known: The prices that were asked for so far, by sizes; new ones are added.

        Raises:
            UsageError: As in `at`.
        """
        widths = self._widths.at(kept)
        found = self._keys.at(widths)
        missing = {key: place for place, key in found if key not in known}
        if missing:
            costs, sizes = self._costs.at(widths).reshape(-1, _COSTS).tolist(), widths.tolist()
            known.update((key, price(self._kernel(at, sizes, costs[at]))) for key, at in missing.items())
        first = second = 0.0
        for _, key in found:
            one, other = known[key]
            first += one
            second += other
        return first, second

    def macs_at(self, kept: Mapping[str, int]) -> int:
        """Multiply-accumulates, as in `model_cost`."""
        return int(self._totals.at(self._widths.at(kept))[0])

    def parameters_at(self, kept: Mapping[str, int]) -> int:
        """Elements of the weights, as in `model_cost`; but what layers share counts as often as it is read."""
        return int(self._totals.at(self._widths.at(kept))[1])

    def size_bytes_at(self, kept: Mapping[str, int]) -> int:
        """Bytes of the weights; what layers share counts as often as it is read."""
        return int(self._totals.at(self._widths.at(kept))[2])

    def _kernel(self, place: int, widths: Sequence[int], costs: Sequence[int]) -> Kernel:
        plan = self._plans[place]
        *sizes, channels_in = (widths[row] * value for row, value in self._sizes[place])
        middle = len(plan.data)
        return kernel_of(plan, costs, tuple(sizes[:middle]), tuple(sizes[middle:]), channels_in)


_COSTS = 4
Price = tuple[float, float]
"""What a kernel costs, such as seconds, and something beside it, such as bytes."""
Key = tuple[int, ...]
"""What tells kernels of a model apart whose cost may differ: a kind, and the widths that it depends on."""


class _Keys:
    """The key of each kernel of a model at some widths; kernels alike but for their names have one key."""

    def __init__(self, widths: _Widths, plans: Sequence[Plan]) -> None:
        kinds: dict[object, int] = {}
        rows: list[int] = []
        self._parts: list[tuple[int, int, int, int, int]] = []
        for place, plan in enumerate(plans):
            # What decides whether it is there comes first.
            dims = (*plan.out, *plan.data, plan.channels_in) if plan.macs else plan.out
            needed = widths.rows(dims)
            varying = list(dict.fromkeys((*needed, *widths.rows((*plan.out, *plan.data, plan.channels_in)))))
            fixed = tuple(_lookup(widths, dim) for dim in (*plan.data, *plan.out, plan.channels_in))
            alike = tuple(varying.index(row) if row else -value - 1 for row, value in fixed)
            kind = kinds.setdefault(
                (plan.family, plan.geometry, plan.tail, plan.dtype, len(plan.data), alike), len(kinds)
            )
            begin = len(rows)
            rows += varying
            self._parts.append((place, kind, begin, begin + len(needed), len(rows)))
        self._rows = np.array(rows, np.int64)

    def at(self, widths: np.ndarray) -> list[tuple[int, Key]]:
        """The place and the key of each kernel that is there."""
        sizes = widths[self._rows].tolist()
        return [
            (place, (kind, *sizes[begin:end]))
            for place, kind, begin, needed, end in self._parts
            if 0 not in sizes[begin:needed]
        ]


def _pair(count: object) -> tuple[int, Mapping[str, int]]:
    if isinstance(count, tuple):
        return count
    return count.fixed, count.per_channel


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

    def rows(self, dims: Iterable[Dim | None]) -> list[int]:
        """The rows of those that depend on kept channels, each once."""
        return list(dict.fromkeys(self.row[dim] for dim in dims if dim in self.row))

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


def _lookup(widths: _Widths, dim: Dim | None) -> tuple[int, int]:
    """A width as a row times a number: 1 where it depends on kept channels, the width itself where it is fixed, 0 where
    there is none."""
    if dim is None:
        return 0, 0
    if dim in widths.row:
        return widths.row[dim], 1
    return 0, widths.sizes[dim[0]][dim[1]]
