"""Losses that are operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_graphsurgeon as gs
from torch import Tensor
from torch.nn import functional

from pfir.train.engines.pytorch.functions.activations import wide


def cross_entropy(
    node: gs.Node, scores: Tensor, labels: Tensor, weights: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The cross-entropy of scores `[N, K, *d]` with classes `[N, *d]`, and the logarithms of the probabilities."""
    log, ignored = functional.log_softmax(scores, 1, dtype=wide(scores)), node.attrs.get("ignore_index", -100)
    loss = functional.nll_loss(
        log, labels, weights, ignore_index=ignored, reduction=node.attrs.get("reduction", "mean")
    )
    return loss, log


FUNCTIONS: dict[str, Callable[..., Any]] = {"SoftmaxCrossEntropyLoss": cross_entropy}
