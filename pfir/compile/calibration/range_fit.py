"""Moments of an input fitted to what a BatchNormalization behind it, or behind the layer that reads it, has seen."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pfir.artifact import TensorSpec
from pfir.data.generated import generated
from pfir.ir.batch_norm import BatchNorm, batch_norm
from pfir.ir.edit import array
from pfir.ir.linear import Layout, LinearLayer, plain_layer
from pfir.ir.windows import Windows

SAMPLES = 24
PATCHES = 4096
STEPS = 30
RIDGE = 0.02
"""Pull of each channel's standard deviation towards the common one, as a share of the evidence of all outputs."""
LARGEST_PATCH = 4096

Moments = tuple[np.ndarray, np.ndarray, str]


def inputs_of_norm(node: gs.Node, tensor: gs.Tensor, spec: TensorSpec, order: tuple[int, ...]) -> Moments | None:
    """Mean and standard deviation [C] of a tensor that `node` reads, and the BatchNormalization that tells them.

    A BatchNormalization of the tensor itself has them as they are. Behind a convolution or Gemm y = W x + b they are
    those with which y has the statistics m, v that were seen: the means by least squares from W mean = m - b; the
    deviations s from s^T Q s = v on a logarithmic scale, where Q holds the covariances of W's inputs when these are
    1/f fields of variance 1. Zero padding is left out of account.

    Args:
        order: Axis i of the tensor is axis order[i] of the input.
        spec: The input, every size fixed.
    """
    own = batch_norm(node)
    if own is not None:
        return _statistics(own) if node.inputs[0] is tensor else None
    layer = plain_layer(node)
    if layer is None or layer.is_transposed or layer.turns_data or layer.operator.bias is None:
        return None
    norm = batch_norm(node.outputs[0].outputs[0]) if len(node.outputs[0].outputs) == 1 else None
    weight = _weight(layer)
    if layer.data is not tensor or norm is None or weight is None:
        return None
    seen, bias = _statistics(norm), array(layer.bias)
    if seen is None or (bias is None and layer.bias is not None):
        return None
    offset = np.zeros(1) if bias is None else bias.astype(np.float64).ravel() * layer.bias_factor
    if offset.size not in (1, len(weight)):
        return None
    return _fitted(layer, weight, seen[0] - offset, seen[1] ** 2, seen[2], spec, order)


def _statistics(norm: BatchNorm) -> Moments | None:
    mean, variance = norm.statistics
    if mean is None or variance is None or not (np.isfinite(mean).all() and (variance >= 0).all()):
        return None
    return mean.astype(np.float64), np.sqrt(variance.astype(np.float64)), norm.node.name


def _weight(layer: LinearLayer) -> np.ndarray | None:
    """float64 [outputs, inputs of all groups, taps], zero between groups; of a Gemm [outputs, 1, inputs].

    What a Gemm reads is taken for one channel: a whole image or signal, flattened.
    """
    weight = array(layer.weight)
    if weight is None or weight.dtype.kind != "f":
        return None
    whole = Layout.across_groups(layer.layout.blocks(weight.astype(np.float64)))
    return whole if layer.is_convolution else whole.swapaxes(1, 2) * layer.factor


def _fitted(
    layer: LinearLayer,
    weight: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    name: str,
    spec: TensorSpec,
    order: tuple[int, ...],
) -> Moments | None:
    if weight[0].size > LARGEST_PATCH or len(weight) < weight.shape[1] or not (variance > 0).any():
        return None
    sums = weight.sum(axis=2)
    if np.linalg.matrix_rank(sums) < weight.shape[1]:
        return None
    means = np.linalg.lstsq(sums, mean, rcond=None)[0]
    patches = _patches(layer, spec, order)
    if patches is None:
        return None
    # [outputs, C, C]: what channels i and j bring to the variance of each output, for fields of variance 1.
    parts = np.einsum("oik,pik->opi", weight, patches)
    forms = np.einsum("opi,opj->oij", parts, parts) / len(patches)
    deviations = _deviations(forms, variance)
    good = np.isfinite(means).all() and np.isfinite(deviations).all() and (deviations > 0).all()
    return (means, deviations, name) if good else None


def _patches(layer: LinearLayer, spec: TensorSpec, order: tuple[int, ...]) -> np.ndarray | None:
    """What the layer reads at random places of generated inputs of variance 1: [P, C, taps]."""
    x = generated([spec], SAMPLES, seed=0).batch(np.arange(SAMPLES))[spec.name].astype(np.float64).transpose(order)
    if not layer.is_convolution:
        return x.reshape(SAMPLES, 1, -1)
    own = layer.windows(layer.weight.shape[2:])
    here = Windows(own.kernel, (1,) * len(own.kernel), own.dilations, (0,) * 2 * len(own.kernel))
    if min(here.grid(x.shape[2:])) < 1:
        return None
    windows = here.of(x)
    rng = np.random.default_rng(0)
    sample, *places = (rng.integers(0, n, PATCHES) for n in (windows.shape[0], *windows.shape[2 : x.ndim]))
    return windows[(sample, slice(None), *places)].reshape(PATCHES, x.shape[1], -1)


def _deviations(forms: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """s [C] with s^T Q_o s near v_o for every output o: damped Gauss-Newton on the logarithms."""
    common = np.einsum("oij->o", forms)
    used = (common > 1e-12) & (variance > 1e-12)
    if not used.any():
        return np.full(forms.shape[1], np.nan)
    forms, wanted = forms[used], np.log(variance[used])
    start = 0.5 * np.median(wanted - np.log(common[used]))
    logs, pull = np.full(forms.shape[1], start), RIDGE * used.sum()
    for _ in range(STEPS):
        s = np.exp(logs)
        rows = np.einsum("oij,j->oi", forms, s) * s
        have = rows.sum(axis=1)
        slope = 2 * rows / have[:, None]
        residual = wanted - np.log(have)
        # Outputs that the assumed fields explain badly must not drag the others: Huber's weights.
        weights = 1 / np.maximum(1.0, np.abs(residual))
        normal = (slope * weights[:, None]).T @ slope + pull * np.eye(len(logs))
        logs = logs + np.linalg.solve(normal, slope.T @ (weights * residual) - pull * (logs - start))
    return np.exp(logs)
