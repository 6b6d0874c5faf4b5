"""Least-squares compensation: the consumers of removed channels learn, in closed form, to do without them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pfir.ir.coupling.groups import Coupling
from pfir.ir.model import Model
from pfir.passes.pruning.moments import Moments, Statistics, regularised


def reconstruct(model: Model, coupling: Coupling, removed: Mapping[str, np.ndarray], statistics: Statistics) -> None:
    """Rewrite, in place, the weights that read channels about to be removed; `remove_channels` comes after.

    Of a consumer y = W x + b whose input loses the features r and keeps k::

        W_k, W_r, b
            ->
        W_k + W_r G_rk (G_kk + ridge)^-1,  0,  b + (W - W') mean

    where G is the covariance of x (its second moment where no bias can carry the mean). That is the W' that minimises
    E||W x - W' x_k - b'||^2, held near W by the ridge: nothing removed, nothing changed.

    Args:
        model: The analysed model or a clone of it, nothing removed yet.
        removed: Group name to channel indices.
        statistics: The moments of the original model, from `collect`; consumers that it lacks keep their weights.

    Source: He, Zhang, Sun, "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017, arXiv:1707.06168,
    section 3.1, step (ii). Ours works from moments gathered once, for all candidates, and pulls towards W, not zero.
    """
    constants = model.initializers()
    arrays = {}
    for tensor, positions in lost_positions(coupling, removed).items():
        if tensor not in statistics:
            continue
        moments = statistics[tensor]
        part = moments.contraction
        before = part.matrix(constants[tensor].values)
        after = compensated(before, moments, part.features(positions))
        fitted = part.weight(after, constants[tensor].values)
        if not np.isfinite(fitted).all():  # Beyond float16's range.
            continue
        arrays[tensor] = fitted
        if moments.centred:
            shift = part.outputs(np.einsum("gof,gf->go", before - after, moments.mean))
            bias = constants[part.bias].values
            arrays[part.bias] = (bias + part.bias_scale * shift.reshape(bias.shape)).astype(bias.dtype)
    model.set_arrays(arrays)


def lost_positions(coupling: Coupling, removed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weight initializer to the positions that it loses on its contracted axis."""
    lost: dict[str, list[np.ndarray]] = {}
    for name, channels in removed.items():
        for part in coupling.group(name).consuming if len(channels) else ():
            lost.setdefault(part.tensor, []).append(part.positions[np.asarray(channels)].ravel())
    return {tensor: np.unique(np.concatenate(parts)) for tensor, parts in lost.items()}


def compensated(weight: np.ndarray, moments: Moments, gone: np.ndarray) -> np.ndarray:
    """The weight [G, O, F] with the features `gone` at zero and the others making up for them."""
    kept = np.setdiff1d(np.arange(weight.shape[2]), gone)
    result = np.zeros_like(weight)
    for group, gram in enumerate(moments.gram()):
        own = regularised(gram[np.ix_(kept, kept)], moments.ridge)
        cross = weight[group][:, gone] @ gram[np.ix_(gone, kept)]
        result[group][:, kept] = weight[group][:, kept] + np.linalg.solve(own, cross.T).T
    return result
