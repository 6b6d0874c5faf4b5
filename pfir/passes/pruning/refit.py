"""Layer by layer, a pruned network learns in closed form to give what the original gave."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.coupling.groups import Coupling, Slice
from pfir.ir.linear import LinearLayer, plain_layer
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.passes.base import Context
from pfir.passes.pruning.consumer_matrix import ConsumerMatrix, contraction, result_of, some
from pfir.passes.pruning.moments import AT_LEAST, ENOUGH, regularised, scarcity

HELD_OUT = 4  # One sample of so many judges what the others taught.
HOLD = 1e-2  # Share of its own energy by which each feature is held near its present weight.


def refit(
    model: Model,
    teacher: Model,
    coupling: Coupling,
    removed: Mapping[str, np.ndarray],
    context: Context,
    only: Collection[str] | None = None,
    original: Model | None = None,
) -> None:
    """Fit, in place and in turn, the convolutions and dense layers of a pruned model to the outputs of the original.

    Each fit reads the pruned network as it is by then, so a later layer also makes up for what earlier ones could not.
    Where a layer's output is only added to a shortcut, the sum is what is fitted, so that the drift of the shortcut is
    made up for too. Each output moves only as far as samples that it was not fitted to approve. It costs a run of both
    models over the data for every layer: meant for the best candidate and for schedules that look again anyway, where
    `reconstruct` is for all candidates.

    Args:
        model: Pruned, with `reconstruct` applied; node and tensor names are those of the teacher, shapes are inferred.
        teacher: The model that was analysed.
        coupling: The teacher's.
        removed: What the model lost: group name to channel indices.
        context: Its `activations` must give the same samples at every call.
        only: Weight initializers of the layers to fit; None for all layers.
        original: Teaches in place of the teacher wherever it has the same tensor of the same shape: what was given
            before lossy passes made the teacher of it. None for none.

    Raises:
        UsageError: The context has no calibration data.

    Source: He, Zhang, Sun, "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017, arXiv:1707.06168,
    sections 3.2 (whole model: inputs of the pruned, outputs of the original) and 3.3 (last layer of a residual branch).
    Ours fits all layers, not only those that lost inputs, and holds weights near those they have.
    """
    if context.activations is None:
        raise UsageError("fitting a pruned model to its original needs calibration data, but the context has none")
    known = _shapes(original) if original is not None and original is not teacher else {}
    ours = _shapes(teacher) if known else {}
    for fit in [f for f in _fits(model, coupling, removed) if only is None or f.layer.tensor in only]:
        same = known.get(fit.target) is not None and known[fit.target] == ours.get(fit.target)
        model.set_arrays(_fitted(model, original if same else teacher, fit, context))


def _shapes(model: Model) -> dict[str, tuple[int | str, ...] | None]:
    """The shape of each tensor by name, as far as it is known."""
    copy = model.clone()
    infer_shapes(copy)
    return {t.name: None if t.shape is None else tuple(t.shape) for n in copy.nodes() for t in n.outputs}


@dataclass(frozen=True)
class _Fit:
    """A layer with what it should give.

    Args:
        layer: As the pruned model has it.
        factor: What the product is multiplied by (Gemm's alpha).
        target: The teacher's tensor to reach.
        shortcut: The pruned model's tensor that is added to the layer's output before the target; None without.
        kept: The target's channels that the pruned model has; None for all.
    """

    layer: ConsumerMatrix
    factor: float
    target: str
    shortcut: str | None
    kept: np.ndarray | None

    def wanted(self, values: np.ndarray, shortcut: np.ndarray | None, places: np.ndarray) -> np.ndarray:
        """What the product should be at these places: float64 [G, N * P, O]."""
        values = values if self.kept is None else np.take(values, self.kept, self.layer.output_axis)
        goal = np.moveaxis(values if shortcut is None else values - shortcut, self.layer.output_axis, -1)
        rows = goal.reshape(goal.shape[0], -1, goal.shape[-1])[:, places].astype(np.float64) / self.factor
        return rows.reshape(-1, self.layer.groups, rows.shape[2] // self.layer.groups).swapaxes(0, 1)


def _fits(model: Model, coupling: Coupling, removed: Mapping[str, np.ndarray]) -> Iterator[_Fit]:
    lost = _lost(coupling, removed)
    for node in model.nodes():
        linear = plain_layer(node)
        layer = None if linear is None else _layer(linear)
        if layer is None:
            continue
        result = result_of(node, layer)
        total, shortcut = _sum_of(result)
        kept = _kept(coupling, lost, result.name, layer.output_axis)
        yield _Fit(layer, linear.factor, total.name, shortcut, kept)


def _fitted(model: Model, teacher: Model, fit: _Fit, context: Context) -> dict[str, np.ndarray]:
    """The layer's arrays, fitted to what flows now on three samples of four and judged on the fourth."""
    learnt, judged = _Sums(fit), _Sums(fit)
    rng, seen = np.random.default_rng(context.seed), 0
    ours = [name for name in (fit.layer.data, fit.shortcut) if name]
    here = context.activations(model.until(ours), ours)
    there = context.activations(teacher.until([fit.target]), [fit.target])
    for read, wanted in zip(here, there, strict=True):
        count = len(wanted[fit.target])
        held = (seen + np.arange(count)) % HELD_OUT == HELD_OUT - 1
        seen += count
        for total, rows in ((learnt, ~held), (judged, held)):
            if rows.any():
                total.add({n: x[rows] for n, x in read.items()}, wanted[fit.target][rows], rng)
    return _solved(learnt, judged, model.initializers()) if learnt.count and judged.count else {}


def _solved(learnt: _Sums, judged: _Sums, constants: Mapping[str, gs.Constant]) -> dict[str, np.ndarray]:
    """The layer's weight, and its bias if it has one, as they should be."""
    layer = learnt.fit.layer
    now = layer.matrix(constants[layer.tensor].values)
    zz, yz = learnt.products()
    hold = HOLD + scarcity(zz.shape[1], learnt.count)
    wanted = yz - now @ zz
    steps = [np.linalg.solve(regularised(own, hold), w.T).T for own, w in zip(zz, wanted, strict=True)]
    step = np.stack(steps)
    weight = now + _share(step, now, *judged.products()) * step
    found = {layer.tensor: layer.weight(weight, constants[layer.tensor].values)}
    if layer.bias is not None:
        like = constants[layer.bias].values
        rest = learnt.y + judged.y - np.einsum("gof,gf->go", weight, learnt.z + judged.z)
        bias = layer.bias_scale * rest / (learnt.count + judged.count)
        found[layer.bias] = bias.reshape(like.shape).astype(like.dtype)
    return found if all(np.isfinite(array).all() for array in found.values()) else {}


def _share(step: np.ndarray, now: np.ndarray, zz: np.ndarray, yz: np.ndarray) -> np.ndarray:
    """How much of its step each output should take, [G, O, 1] in [0, 1], for the least error on these moments."""
    gain = np.einsum("gof,gof->go", step, yz - now @ zz)
    energy = np.einsum("gof,gof->go", step, step @ zz)
    return np.clip(gain / np.where(energy > 0, energy, np.inf), 0, 1)[:, :, None]


class _Sums:
    """Moments of a layer's inputs z with the outputs y that it should give."""

    def __init__(self, fit: _Fit) -> None:
        self.fit, self.count = fit, 0
        self.zz = self.yz = self.z = self.y = 0.0

    def add(self, here: Mapping[str, np.ndarray], target: np.ndarray, rng: np.random.Generator) -> None:
        layer, x = self.fit.layer, here[self.fit.layer.data]
        places = some(layer.places(x.shape), self._wanted(), rng)
        z = np.ascontiguousarray(layer.rows(x, places), np.float64 if x.dtype == np.float64 else np.float32)
        y = self.fit.wanted(target, here.get(self.fit.shortcut), places).astype(z.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # What overflows is not fitted.
            self.zz = self.zz + np.matmul(z.swapaxes(1, 2), z).astype(np.float64)
            self.yz = self.yz + np.matmul(y.swapaxes(1, 2), z).astype(np.float64)
            self.z = self.z + z.sum(1, dtype=np.float64)
            self.y = self.y + y.sum(1, dtype=np.float64)
        self.count += z.shape[1]

    def products(self) -> tuple[np.ndarray, np.ndarray]:
        """E[z z^T] and E[y z^T], without the means where a bias carries them."""
        zz, yz, z, y = (part / self.count for part in (self.zz, self.yz, self.z, self.y))
        if self.fit.layer.bias is None:
            return zz, yz
        return zz - z[:, :, None] * z[:, None, :], yz - y[:, :, None] * z[:, None, :]

    def _wanted(self) -> int:
        features = self.fit.layer.channels * self.fit.layer.taps
        return 2 if self.count > ENOUGH * features + AT_LEAST else max(16, features // 24, AT_LEAST // features)


def _layer(layer: LinearLayer) -> ConsumerMatrix | None:
    """The layer as a contraction that can be fitted: alone with its weight, and with its bias if it has one."""
    node, weight = layer.node, layer.weight
    alone = isinstance(weight, gs.Constant) and len(weight.outputs) == 1
    if not alone or layer.is_transposed or layer.place != layer.operator.weight.place:
        return None
    positions = np.arange(weight.values.shape[layer.input_axis])[:, None]
    found = contraction(node, Slice(node.name, node.op, weight.name, layer.input_axis, positions, "weight"))
    shared_bias = layer.bias is not None and found is not None and found.bias is None
    return None if found is None or not found.window or shared_bias else found


def _sum_of(result: gs.Tensor) -> tuple[gs.Tensor, str | None]:
    """The sum with a shortcut that this tensor only serves, and the shortcut; without one, the tensor itself."""
    readers = result.outputs
    if len(readers) != 1 or readers[0].op != "Add" or len(readers[0].inputs) != 2:
        return result, None
    (other,) = [t for t in readers[0].inputs if t is not result] or [result]
    if other is result or isinstance(other, gs.Constant) or not _same_rank(other, result):
        return result, None
    return readers[0].outputs[0], other.name


def _same_rank(one: gs.Tensor, other: gs.Tensor) -> bool:
    return one.shape is not None and other.shape is not None and len(one.shape) == len(other.shape)


def _lost(coupling: Coupling, removed: Mapping[str, np.ndarray]) -> dict[tuple[str, int], np.ndarray]:
    """The positions that went, by tensor and axis."""
    lost: dict[tuple[str, int], list[np.ndarray]] = {}
    for name, channels in removed.items():
        for member in coupling.group(name).members:
            lost.setdefault((member.tensor, member.axis), []).append(
                member.positions[np.asarray(channels, int)].ravel()
            )
    return {site: np.concatenate(parts) for site, parts in lost.items()}


def _kept(coupling: Coupling, lost: Mapping, tensor: str, axis: int) -> np.ndarray | None:
    """The positions of an axis, from the front or the end, that stay; None for all of them."""
    for (name, place), gone in lost.items():
        if name == tensor and (place == axis or axis < 0):
            return np.setdiff1d(np.arange(coupling.sizes[name, place]), gone)
    return None
