"""Low-rank factorisation: a dense layer becomes two thin ones where those cost less."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.coupling.bodies import every_graph
from pfir.ir.edit import Names, cut, is_op, set_input, sweep
from pfir.ir.model import Model
from pfir.ir.module_paths import names_meant
from pfir.ir.shapes import infer_shapes
from pfir.ir.weights import numbers
from pfir.passes.base import Change, Context, Pass
from pfir.space import Parameter, Space

RANK = "rank:"
"""Names of parameters to search: this and the name of a layer."""
LOWEST_RANK = 0.05
"""The least share of its rank that a search may leave a layer."""

_COSTS_NO_LESS = "two would cost no fewer MACs than one"
_PLACING = ("strides", "pads", "auto_pad", "dilations")
"""Attributes that say where a kernel lies: with a kernel of one position, one of two convolutions does all of it."""


@dataclass(frozen=True)
class Factorize(Pass):
    """Turn a dense layer into two thin ones, by the largest singular values of its weights.

    Rewrite of a layer of A inputs and B outputs, where V U is the nearest matrix of rank r to W::

        y = W x + b     W [B, A]
            ->
        t = U x         U [r, A]
        y = V t + b     V [B, r]

    Layers are MatMul and Gemm with a constant matrix on either side, and 1x1 convolutions of one group; those in bodies
    of If, Loop and Scan, too. Of W = L S R each factor gets its half of the singular values, V = L sqrt(S) and
    U = sqrt(S) R, so that both train at one rate.

    A layer stays where two would cost no fewer MACs than one, r (A + B) >= A B: MACs never grow, and by rank=1 nothing
    changes. By energy=1 only layers of low rank change; outputs are the same up to float rounding, and a second run
    changes nothing. Otherwise the outputs change, so fine-tune after, and a second run goes on from what the first one
    left. Weights that are read elsewhere, too, stay, since factors would untie them, and so do integers, since factors
    of floats would be larger.

    Args:
        rank: Share of the full rank min(A, B) that every layer keeps, rounded up, 0 < rank <= 1.
        energy: Share of the sum of squared singular values that every layer keeps at least, by the lowest rank that
            does, 0 < energy <= 1. Not beside rank.
        ranks: Shares of the full rank by name of the layer, instead of the other two; 1 leaves a layer as it is.

    Raises:
        UsageError: A field is out of its range, none is given, or `ranks` names no such layer.

    Source: Xue, Li, Gong, "Restructuring of Deep Neural Network Acoustic Models with Singular Value Decomposition",
    Interspeech 2013, and Denton et al., "Exploiting Linear Structure Within Convolutional Networks for Efficient
    Evaluation", NIPS 2014, arXiv:1404.0736, for two layers by truncated decomposition; ours gives both factors the same
    share of the singular values.
    """

    name: ClassVar[str] = "factorize"
    compresses: ClassVar[bool] = True

    rank: float | None = None
    energy: float | None = None
    ranks: tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        shares = (("rank", self.rank), ("energy", self.energy), *((f"the rank of {n}", v) for n, v in self.ranks))
        for label, value in shares:
            if value is not None and not 0 < value <= 1:
                raise UsageError(f"{label} is {value}; it must be in (0, 1]")
        if self.rank is not None and self.energy is not None:
            raise UsageError("rank and energy both say how much of a layer stays; give one of them")

    @property
    def is_open(self) -> bool:
        """Whether nothing says how much stays, so that it is for a search to choose."""
        return self.rank is None and self.energy is None and not self.ranks

    def opened(self) -> Factorize:
        return replace(self, rank=None, energy=None, ranks=())

    def space(self, model: Model, context: Context) -> Space:
        """One parameter `rank:<layer>` for each layer that two may replace, in [0.05, 1]; none where all is said."""
        names = [layer.node.name for layer in _layers(model) if not layer.refusal] if self.is_open else []
        return Space(tuple(Parameter(RANK + name, LOWEST_RANK, 1.0, 1.0, low_is_cheap=True) for name in names))

    def with_parameters(self, parameters: Mapping[str, float]) -> Factorize:
        """The pass that gives the layers these ranks and leaves the others as they are."""
        chosen = ((name.removeprefix(RANK), share) for name, share in parameters.items() if share < 1)
        return replace(self, rank=1.0, ranks=tuple(chosen))

    def apply(self, model: Model, context: Context) -> Change:
        if self.is_open:
            raise UsageError("factorize needs one of the fields rank, energy and ranks")
        layers, names = tuple(_layers(model)), Names(model.graph)
        named = _by_layer(model, layers, self.ranks)
        kept, reasons = [], {}
        for layer in layers:
            share = named.get(layer.node.name, self.rank)
            if share is None and self.energy is None:
                continue
            factors = None if layer.refusal else _factors(layer, share, self.energy)
            if factors is None:
                reasons.setdefault(layer.refusal or _COSTS_NO_LESS, []).append(layer.node.name)
                continue
            _insert(layer, factors, names)
            kept.append(factors.energy)
        if kept:
            _tidy(model)
        return Change(bool(kept), _notes(len(layers), kept, reasons))


@dataclass(frozen=True)
class _Layer:
    """A node y = W x + b with constant W.

    Args:
        graph: The main graph or a body.
        node: Conv, Gemm or MatMul.
        place: Which of its inputs the weights are; 1 minus that is x.
        weight: The weights as the node reads them.
        path: The nodes that make them of an initializer (a Transpose, say), the last of them first.
        is_tied: Whether the weights are read elsewhere, too.
    """

    graph: gs.Graph
    node: gs.Node
    place: int
    weight: np.ndarray
    path: tuple[gs.Node, ...]
    is_tied: bool

    @property
    def refusal(self) -> str:
        """Why the layer must stay as it is; empty where it need not."""
        if any(node.op == "DequantizeLinear" for node in self.path):
            return "their weights are integers"
        if self.is_tied:
            return "their weights are read elsewhere, too"
        if not np.isfinite(self.weight).all():
            return "their weights are NaN or infinite"
        return "" if _costs_less(self.weight.shape[:2], 1) else _COSTS_NO_LESS

    def matrix(self) -> np.ndarray:
        """W, float64 [B, A]."""
        flat = self.weight.reshape(self.weight.shape[:2]).astype(np.float64)
        return flat if self._has_outputs_first else flat.T

    def as_weight(self, matrix: np.ndarray) -> np.ndarray:
        """A matrix [outputs, inputs] in the layout and type of the weights."""
        flat = matrix if self._has_outputs_first else matrix.T
        kernel = (1,) * (self.weight.ndim - 2)
        return np.ascontiguousarray(flat.reshape(*flat.shape, *kernel)).astype(self.weight.dtype)

    @property
    def _has_outputs_first(self) -> bool:
        if self.node.op != "Gemm":
            return self.node.op == "Conv" or self.place == 0
        return bool(self.node.attrs.get("transB", 0)) if self.place else not self.node.attrs.get("transA", 0)


@dataclass(frozen=True)
class _Factors:
    """U [r, A] and V [B, r] of a matrix near V U, and the share of its energy that they keep."""

    first: np.ndarray
    second: np.ndarray
    energy: float


def _layers(model: Model) -> Iterator[_Layer]:
    """The layers of all graphs that multiply what is computed by a constant matrix of floats."""
    graphs = tuple(every_graph(model.graph))
    results = {id(t) for graph in graphs for t in graph.outputs}
    for graph in graphs:
        for node, place in ((n, i) for n in graph.nodes for i in _places_of_weights(n)):
            tensor = node.inputs[place]
            weight = numbers(tensor)
            if weight is not None and _is_matrix(node, weight) and numbers(node.inputs[1 - place]) is None:
                path = tuple(_path(tensor))
                yield _Layer(graph, node, place, weight, path, _is_tied(tensor, path, results))


def _places_of_weights(node: gs.Node) -> tuple[int, ...]:
    if is_op(node, "Gemm", "MatMul"):
        return (1, 0)
    return (1,) if is_op(node, "Conv") and int(node.attrs.get("group", 1)) == 1 else ()


def _is_matrix(node: gs.Node, weight: np.ndarray) -> bool:
    """Whether the weights are one matrix of floats; those of a convolution have a kernel of one position around it."""
    fits = weight.ndim == 2 or (node.op == "Conv" and set(weight.shape[2:]) == {1})
    return fits and weight.size > 0 and weight.dtype in (np.float16, np.float32, np.float64)


def _path(tensor: gs.Tensor) -> Iterator[gs.Node]:
    while tensor.inputs:
        node = tensor.inputs[0]
        yield node
        if not node.inputs:  # a Constant
            return
        tensor = node.inputs[0]


def _is_tied(tensor: gs.Tensor, path: Sequence[gs.Node], results: set[int]) -> bool:
    made_of = [tensor, *(node.inputs[0] for node in path if node.inputs)]
    return any(len(t.outputs) > 1 or id(t) in results for t in made_of)


def _by_layer(model: Model, layers: Sequence[_Layer], ranks: Sequence[tuple[str, float]]) -> dict[str, float]:
    """The shares by the names that layers have here; each may be called by that in its file, or by a module around it.

    Raises:
        UsageError: No layer is called so; says which are.
    """
    there = [layer.node.name for layer in layers]
    found: dict[str, float] = {}
    for name, share in ranks:
        meant = [m for m in names_meant(model.graph, name) if m in there]
        if not meant:
            close = get_close_matches(name, there, n=3, cutoff=0.4) or there[:5] or ["none"]
            raise UsageError(f"no dense layer is called {name}; there are {', '.join(close)}")
        found.update(dict.fromkeys(meant, share))
    return found


def _factors(layer: _Layer, share: float | None, energy: float | None) -> _Factors | None:
    """The factors that keep a share of the full rank, else one of the energy; None where they would cost no less."""
    matrix = layer.matrix()
    rank = None if share is None else _rank_of_share(matrix.shape, share)
    # Asked before the decomposition, too: of the largest layers that takes minutes.
    if rank is not None and not _costs_less(matrix.shape, rank):
        return None
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    lost = _lost(values, matrix.shape, np.finfo(layer.weight.dtype).eps)
    rank = _rank_of_energy(lost, energy) if rank is None else rank
    if not _costs_less(matrix.shape, rank):
        return None
    root = np.sqrt(values[:rank])
    return _Factors(root[:, None] * right[:rank], left[:, :rank] * root, 1 - lost[rank])


def _costs_less(shape: Sequence[int], rank: int) -> bool:
    """Whether two layers of this rank have fewer MACs than one; strides and sizes of images count for both alike."""
    return rank * sum(shape) < math.prod(shape)


def _rank_of_share(shape: Sequence[int], share: float) -> int:
    # 0.07 of 100 is 7, and not the 8 that rounding 7.000000000000001 up would give.
    return max(1, math.ceil(share * min(shape) - 1e-9))


def _lost(values: np.ndarray, shape: Sequence[int], precision: float) -> np.ndarray:
    """The share of the energy that is lost where the first 0, 1, ... singular values stay; after the last nothing is.

    Values within the rounding of the weights count as zero, by the bound of numpy's `matrix_rank`.
    """
    kept = np.where(values > values[0] * max(shape) * precision, values / max(values[0], np.finfo(float).tiny), 0)
    tails = np.append(np.cumsum(np.square(kept[::-1]))[::-1], 0.0)
    return tails / max(tails[0], 1.0)


def _rank_of_energy(lost: np.ndarray, energy: float) -> int:
    """The lowest rank that keeps this share of the energy."""
    return max(1, int(np.argmax(lost <= 1 - energy)))


def _insert(layer: _Layer, factors: _Factors, names: Names) -> None:
    """Put a new layer in front of the node, which keeps its name and its outputs and becomes the second one."""
    node, data = layer.node, 1 - layer.place
    weight = node.inputs[layer.place].name
    first = gs.Node(node.op, names.fresh(f"{node.name}_low_rank"), dict(node.attrs))
    middle = gs.Variable(names.fresh(f"{node.outputs[0].name}_low_rank"), layer.weight.dtype)
    first.outputs = [middle]
    set_input(first, data, node.inputs[data])
    set_input(first, layer.place, gs.Constant(names.fresh(f"{weight}_first"), layer.as_weight(factors.first)))
    node.inputs[data] = middle
    node.inputs[layer.place] = gs.Constant(names.fresh(f"{weight}_second"), layer.as_weight(factors.second))
    _share_attributes(layer, first)
    if node.op != "MatMul":
        # Zeros: a place for the means that restore-batch-norm, training and least squares leave there.
        first.inputs.append(gs.Constant(names.fresh(f"{first.name}_bias"), _zeros(layer, len(factors.first))))
    for each in layer.path:
        cut(each)
    layer.graph.nodes.insert(next(i for i, n in enumerate(layer.graph.nodes) if n is node), first)


def _share_attributes(layer: _Layer, first: gs.Node) -> None:
    """What the node does to its data the first layer does, and what it does to its result the second one."""
    for name in ("alpha", "beta"):
        first.attrs.pop(name, None)
    for name in (*_PLACING, "transA" if layer.place else "transB"):
        layer.node.attrs.pop(name, None)


def _zeros(layer: _Layer, rank: int) -> np.ndarray:
    """A bias for the first layer; where the weights of a Gemm stand on the left, its channels are the rows."""
    return np.zeros((rank, 1) if layer.place == 0 else rank, layer.weight.dtype)


def _tidy(model: Model) -> None:
    for graph in every_graph(model.graph):
        sweep(graph)
    infer_shapes(model)


def _notes(layers: int, kept: Sequence[float], reasons: dict[str, list[str]]) -> tuple[str, ...]:
    """How many layers became two, and which stay for what reason."""
    energy = f", which keep {min(kept):.1%} of their energy or more" if kept else ""
    stay = [f"{', '.join(names)}: left as before, since {reason}" for reason, names in reasons.items()]
    return (f"{len(kept)} of {layers} dense layers became two{energy}", *stay)
