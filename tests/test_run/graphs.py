"""Small models that the tests of this room share."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from pfir.data.base import Dataset
from pfir.ir.model import Model


def model_of(nodes, inputs: dict, outputs: dict, arrays: dict | None = None) -> Model:
    """A float32 model; shapes are lists with None or names where dynamic."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(a, n) for n, a in (arrays or {}).items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return Model.from_proto(proto, name="net")


def dense(weight: np.ndarray, batch="N", name: str = "y") -> Model:
    """y [batch, K] = x [batch, A] @ weight [A, K], through a hidden tensor h = relu(y)."""
    nodes = [helper.make_node("MatMul", ["x", "w"], [name]), helper.make_node("Relu", [name], ["h"])]
    a, k = weight.shape
    return model_of(nodes, {"x": [batch, a]}, {name: [batch, k]}, {"w": weight.astype(np.float32)})


class Rows(Dataset):
    """The rows of an array, for an input x."""

    inputs = ("x",)
    kind = "given"

    def __init__(self, rows: np.ndarray, labels=None) -> None:
        self._rows = rows.astype(np.float32)
        self.labels = None if labels is None else np.asarray(labels, np.int64)

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, indices):
        return {"x": self._rows[indices]}

    def fingerprint(self) -> str:
        return str(hash(self._rows.tobytes()))
