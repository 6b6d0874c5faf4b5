"""Calibration data for small networks, as passes are given it."""

from __future__ import annotations

import numpy as np

from pfir.compile.training.learning import Learning
from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.run.session import Session
from tests.support.samples import Samples


def samples(net: Model, count=48, seed=1) -> dict[str, np.ndarray]:
    """Inputs that are correlated from place to place, as images are."""
    rng = np.random.default_rng(seed)
    shapes = {spec.name: (count, *spec.shape[1:]) for spec in net.inputs()}
    noise = {name: rng.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    return {name: x + 0.5 * np.roll(x, 1, -1) + 0.3 for name, x in noise.items()}


def context(net: Model, **changes) -> Context:
    """Calibration by `samples(net)`, in batches of 16."""
    feeds = samples(net)

    def activations(given, names):
        copy = given.clone()
        tensors = copy.graph.tensors()
        copy.graph.outputs = [tensors[name] for name in names if name not in feeds]
        for tensor in copy.graph.outputs:
            tensor.dtype = np.dtype(np.float32)
        session = Session(copy) if copy.graph.outputs else None
        for start in range(0, len(next(iter(feeds.values()))), 16):
            part = {name: x[start : start + 16] for name, x in feeds.items()}
            values = session.predict(part) if session else {}
            yield {name: part[name] if name in part else values[name] for name in names}

    return Context(activations=activations, **changes)


def learning(net: Model, labels=None, train=False, **changes) -> Context:
    """As `context(net)`, with the callables that labels, losses and training need."""
    filled = context(net, **changes)
    return Learning(net, Samples(samples(net), labels), filled.seed).given_to(filled, train)


def outputs(net: Model, feeds) -> np.ndarray:
    return Session(net).predict(feeds)["y"]
