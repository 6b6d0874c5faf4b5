"""A small library that device tests load."""

from __future__ import annotations

from functools import cache

import numpy as np
from onnx import TensorProto, helper

from pfir.artifact import Artifact
from pfir.backends.tvm import TvmBackend
from pfir.ir.model import Model
from pfir.target import parse_target

X = np.arange(6, dtype=np.float32).reshape(2, 3)


@cache
def doubled(target: str = "host") -> Artifact:
    """y = x + x and z = relu(y) for x of [2, 3]."""
    nodes = [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Relu", ["y"], ["z"])]
    ports = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3]) for name in "xyz"}
    graph = helper.make_graph(nodes, "doubled", [ports["x"]], [ports["y"], ports["z"]])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return TvmBackend().build(Model.from_proto(proto), parse_target(target))
