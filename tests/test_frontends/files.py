"""Small ONNX files that the tests of this room share, and how they expect a refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pfir.errors import FrontendError
from pfir.frontends import load


def value(name: str, shape: list | None, element: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


def model(nodes, inputs=None, outputs=None, initializers=(), opset=17, ir=9, **more) -> onnx.ModelProto:
    """A model from x [2, 3] to y [2, 3] unless told otherwise."""
    graph = helper.make_graph(
        nodes,
        "g",
        inputs or [value("x", [2, 3])],
        outputs if outputs is not None else [value("y", [2, 3])],
        list(initializers),
        value_info=more.pop("value_info", None),
    )
    imports = more.pop("imports", None) or [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir, **more)


def relu() -> onnx.ModelProto:
    return model([helper.make_node("Relu", ["x"], ["y"], name="act")])


def added(weight: TensorProto) -> onnx.ModelProto:
    return model([helper.make_node("Add", ["x", "w"], ["y"], name="sum")], initializers=[weight])


def weight(array: np.ndarray | None = None) -> TensorProto:
    return numpy_helper.from_array(np.ones(3, np.float32) if array is None else array, "w")


def written(folder: Path, proto: onnx.ModelProto | bytes, name: str = "m.onnx") -> Path:
    path = folder / name
    path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    return path


def refusal(path: Path) -> str:
    """The text of the refusal: one line that names the file."""
    with pytest.raises(FrontendError) as caught:
        load(path)
    text = str(caught.value)
    assert "\n" not in text and text.isprintable() and path.name in text
    return text


def chain(*edges: tuple[str, str]) -> list[onnx.NodeProto]:
    return [helper.make_node("Relu", [a], [b], name=f"{a}{b}") for a, b in edges]


def function(name: str, callee: str, calls: int) -> onnx.FunctionProto:
    names = ["a", *(f"t{i}" for i in range(calls - 1)), "b"]
    domain = "own" if callee not in ("Relu",) else ""
    nodes = [helper.make_node(callee, [p], [q], domain=domain) for p, q in zip(names, names[1:], strict=False)]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], ["b"], nodes, imports)


def calling(functions: list[onnx.FunctionProto], name: str) -> onnx.ModelProto:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return model([helper.make_node(name, ["x"], ["y"], domain="own")], imports=imports, functions=functions)
