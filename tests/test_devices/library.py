"""A small library that device tests load."""

from __future__ import annotations

from functools import cache

import numpy as np
from onnx import helper

from pfir.artifact import Artifact
from pfir.backends.tvm import TvmBackend
from pfir.target import parse_target
from tests.support.net import model_of

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@cache
def doubled(target: str = "host", rows: int = 2) -> Artifact:
    """y = x + x and z = relu(y) for x of [rows, 3]."""
    nodes = [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Relu", ["y"], ["z"])]
    shape = [rows, 3]
    model = model_of(nodes, {}, {"x": shape}, {"y": shape, "z": shape}, opset=13)
    return TvmBackend().build(model, parse_target(target))
