"""Make weights zero, in a pattern or anywhere, those that stay making up for it where data tells how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import ClassVar

import numpy as np

from pfir.errors import Infeasible, UsageError
from pfir.ir.checking.verify import check_finite
from pfir.ir.model import Model
from pfir.ir.module_paths import names_meant
from pfir.passes.base import Change, Context, Pass
from pfir.passes.pruning.moments import Moments, gather
from pfir.passes.sparsity.criteria import CRITERIA, MEASURED, reconstructed
from pfir.passes.sparsity.distribution import DISTRIBUTIONS, Shares
from pfir.passes.sparsity.gradual import growth_of, train_sparse
from pfir.passes.sparsity.layers import Reasons, SparseLayer, sparse_layers
from pfir.passes.sparsity.movement import movements
from pfir.passes.sparsity.patterns import UNSTRUCTURED, Pattern, parse_pattern
from pfir.passes.sparsity.task import Solution, Task
from pfir.space import Parameter, Space

SPARSITY = "sparsity"
"""The name of the parameter to search."""
HIGHEST_SPARSITY = 0.95
"""The largest share of zeros that a search may choose."""
MOST_FEATURES = 4608
"""512 channels of 3x3 windows: of larger layers it would take too long to measure what they multiply."""
_NAMED = 3
"""Layers that a note names; the others are counted."""


@dataclass(frozen=True)
class SparsifyWeights(Pass):
    """Make the weights zero that matter least.

    Rewrite of a weight, where M is 0 or 1, in a pattern, and V may differ from W where there is data::

        y = W x + b     ->      y = (M * V) x + c

    Shapes, nodes and names stay; zeros are exact, and stay where the model is fine-tuned or quantized afterwards. Of
    integer weights (Q/DQ) those that stay are as they were, and the others are the zero point. A weight that several
    layers share is chosen once, for what all of them read. Convolutions whose outputs sum fewer than four channels
    (depthwise ones, the first of an image) stay dense, and so do layers that the pattern does not divide, and weights
    in bodies of If, Loop and Scan. Prune channels before, since reconstruction there fills zeros. The outputs change,
    so fine-tune after. A second run by magnitude or wanda changes nothing.

    Args:
        sparsity: Share of zeros among all weights that may have any, 0 <= sparsity < 1; by a pattern N:M the pattern
            says it. None leaves it to a search.
        pattern: unstructured; N:M (2:4), of M input channels side by side N stay at each tap; blocks ROWSxCOLUMNS of
            outputs x (input, tap), as 1x4 and 4x1; channel-vectors, which are whole filter slices. In 1x1 convolutions
            and dense layers blocks 8x1 of floats and 8x4 of integers are skipped where that is faster.
        criterion: magnitude; movement, by gradients, which tell little where the model has nothing left to learn;
            wanda, by magnitude times the norm of what is multiplied; obc and sparsegpt, by which the others make up for
            each that goes. All but magnitude need data; layers of more
            than 4608 weights an output and transposed convolutions go by magnitude all the same.
        distribution: How the sparsity is divided: uniform; global, by magnitude over all layers; lamp, which is the
            same relative to each layer; dp, the least sum of the layers' output errors, by dynamic programming.
        reconstruct: Whether what stays is solved for by least squares, whatever the criterion.
        gradual: Whether zeros spread during a training of some steps with the model as its own teacher, the least
            first, whatever the criterion.
        sparsities: Share of zeros by name of the layer, instead; 0 leaves it dense. Without `sparsity` layers that are
            not named stay dense.

    Raises:
        UsageError: A field is out of its range, `sparsities` names no such layer, or data is needed and missing.
        FrontendError: A weight is NaN or infinite.
        Infeasible: No weight may become sparse.

    Source: of patterns Mishra et al., "Accelerating Sparse Deep Neural Networks", arXiv:2104.08378, section 2, for N:M;
    Mao et al., "Exploring the Granularity of Sparsity in Convolutional Neural Networks", CVPR Workshops 2017,
    arXiv:1705.08922, for vectors; of criteria and distributions where they are defined. Means that change go into
    biases, which the papers leave to fine-tuning. Zhu and Gupta, 2018, for `gradual` (see `Growth`).
    """

    name: ClassVar[str] = "sparsify-weights"
    compresses: ClassVar[bool] = True

    sparsity: float | None = None
    pattern: str = UNSTRUCTURED
    criterion: str = "magnitude"
    distribution: str = "uniform"
    reconstruct: bool = False
    gradual: bool = False
    sparsities: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        own = parse_pattern(self.pattern).sparsity
        for label, known in (("criterion", CRITERIA), ("distribution", DISTRIBUTIONS)):
            if getattr(self, label) not in known:
                raise UsageError(f"{label} is {getattr(self, label)}; it must be one of {', '.join(known)}")
        for label, value in (("sparsity", self.sparsity), *((f"the sparsity of {n}", v) for n, v in self.sparsities)):
            if value is not None and not 0 <= value < 1:
                raise UsageError(f"{label} is {value}; it must be in [0, 1)")
            if own is not None and value not in (None, 0, own):
                raise UsageError(f"{label} is {value}; of pattern {self.pattern} it is {own:g}")
        if own is not None and self.distribution != "uniform":
            raise UsageError(f"pattern {self.pattern} says how sparse each layer is; leave distribution out")

    @property
    def is_open(self) -> bool:
        return self.sparsity is None and not self.sparsities and parse_pattern(self.pattern).sparsity is None

    def opened(self) -> SparsifyWeights:
        return replace(self, sparsity=None, sparsities=())

    def space(self, model: Model, context: Context) -> Space:
        """One parameter, the share of zeros, in [0, 0.95]; none where it is said, or no weight may become sparse."""
        layers = sparse_layers(model, parse_pattern(self.pattern), context)[0] if self.is_open else []
        return Space((Parameter(SPARSITY, 0.0, HIGHEST_SPARSITY, 0.0),) if layers else ())

    def with_parameters(self, parameters: Mapping[str, float]) -> SparsifyWeights:
        return replace(self, sparsity=parameters.get(SPARSITY, 0.0))

    def apply(self, model: Model, context: Context) -> Change:
        if self.is_open:
            raise UsageError("sparsify-weights needs one of the fields sparsity and sparsities, or a pattern N:M")
        check_finite(model)
        pattern = parse_pattern(self.pattern)
        layers, reasons = sparse_layers(model, pattern, context)
        if not layers:
            raise Infeasible(f"no weight of this model may become sparse: {_reasons(reasons) or 'it has no layer'}")
        named = _by_tensor(model, layers, self.sparsities)
        tasks = self._tasks(model, layers, pattern, context)
        solutions = {task.layer.tensor: self._solution(task) for task in tasks}
        shares = self._shares(tasks, solutions, named)
        if self.gradual:
            changed = train_sparse(model, growth_of(layers, pattern, shares), context)
        else:
            changed = _written(model, tasks, solutions, shares)
        return Change(changed, _notes(model, layers, shares, reasons))

    def _tasks(self, model: Model, layers: Sequence[SparseLayer], pattern: Pattern, context: Context) -> list[Task]:
        known: Mapping[str, Moments] = {}
        if self.criterion in MEASURED or self.reconstruct or self.distribution == "dp":
            asked = f"{self.name} by {self._measured}"
            uses = {x.tensor: x.uses for x in layers if x.is_measurable and x.weight.shape[2] <= MOST_FEATURES}
            known = gather(model, uses, context, asked)
        moved = movements(model, layers, context) if self.criterion == "movement" else {}
        return [Task(x, pattern, known.get(x.tensor), moved.get(x.tensor)) for x in layers]

    @property
    def _measured(self) -> str:
        """The field that needs data."""
        if self.criterion in MEASURED:
            return f"criterion={self.criterion}"
        return "reconstruct=true" if self.reconstruct else "distribution=dp"

    def _solution(self, task: Task) -> Solution:
        found = CRITERIA[self.criterion](task)
        return reconstructed(task, found) if self.reconstruct else found

    def _shares(self, tasks: Sequence[Task], solutions: Mapping[str, Solution], named: Shares) -> Shares:
        own = parse_pattern(self.pattern).sparsity
        sparsity = own if self.sparsity is None and not named else self.sparsity
        others = [task for task in tasks if task.layer.tensor not in named]
        divided = DISTRIBUTIONS[self.distribution](others, solutions, sparsity) if sparsity and others else {}
        return {**divided, **named}


def _by_tensor(model: Model, layers: Sequence[SparseLayer], sparsities: Sequence[tuple[str, float]]) -> Shares:
    """The shares by initializer; each layer may be called by its name in the file, or by a module around it."""
    there = {name: layer.tensor for layer in layers for name in layer.nodes}
    found: Shares = {}
    for name, share in sparsities:
        meant = [there[m] for m in names_meant(model.graph, name) if m in there]
        if not meant:
            close = get_close_matches(name, there, n=3, cutoff=0.4) or list(there)[:5]
            raise UsageError(f"no layer that may become sparse is called {name}; there are {', '.join(close)}")
        found.update(dict.fromkeys(meant, share))
    return found


def _written(
    model: Model, tasks: Sequence[Task], solutions: Mapping[str, Solution], shares: Mapping[str, float]
) -> bool:
    """Give the model the weights, and biases that take up what changes on average; whether anything did."""
    held, arrays = model.initializers(), {}
    for task in tasks:
        share = shares.get(task.layer.tensor, 0.0)
        if share:
            weight = solutions[task.layer.tensor](share)
            like = held[task.layer.tensor].values
            arrays[task.layer.tensor] = task.layer.stored(weight, like)
            if not np.array_equal(arrays[task.layer.tensor], like):
                arrays |= _bias(model, task, weight)
    changed = {name: array for name, array in arrays.items() if not np.array_equal(array, held[name].values)}
    model.set_arrays(changed)
    return bool(changed)


def _bias(model: Model, task: Task, weight: np.ndarray) -> dict[str, np.ndarray]:
    """The layer's bias once it carries the mean that the weights no longer give, where it is the layer's alone."""
    use = task.layer.uses[0]
    if task.moments is None or not task.moments.centred or use.bias is None:
        return {}
    like = model.initializers()[use.bias].values
    lacking = np.einsum("gof,gf->go", task.layer.weight - weight, task.moments.mean).ravel()
    return {use.bias: (like + (use.bias_scale * lacking).reshape(like.shape)).astype(like.dtype)}


def _notes(
    model: Model, layers: Sequence[SparseLayer], shares: Mapping[str, float], reasons: Reasons
) -> tuple[str, ...]:
    """How many weights are zero, and which layers stay dense."""
    held = model.initializers()
    chosen = [layer for layer in layers if shares.get(layer.tensor)]
    zeros = sum(int(np.sum(held[layer.tensor].values == layer.zero)) for layer in chosen)
    total = sum(layer.weight.size for layer in chosen)
    said = f"{zeros} of {total} weights are zero, {zeros / total:.1%}" if total else "no weight became zero"
    stay = [f"dense: {_few(names)}, since {reason}" for reason, names in reasons.items()]
    return (f"{said}, in {len(chosen)} layers", *stay)


def _reasons(reasons: Reasons) -> str:
    return "; ".join(f"{_few(names)}: {reason}" for reason, names in reasons.items())


def _few(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
