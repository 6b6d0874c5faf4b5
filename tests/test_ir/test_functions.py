"""Inlining local functions changes neither the function nor the interface."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from pfir.ir.checking.verify import verify_model
from pfir.ir.functions import inline_functions
from pfir.ir.model import Model
from tests.support.runs import run


def calling() -> Model:
    """y = scale(scale(x)), where scale(a) = relu(a) * k with k an attribute."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    factor = helper.make_node("Constant", [], ["k"])
    factor.attribute.add(name="value_float", ref_attr_name="k", type=onnx.AttributeProto.FLOAT)
    body = [helper.make_node("Relu", ["a"], ["r"]), factor, helper.make_node("Mul", ["r", "k"], ["b"])]
    scale = helper.make_function("own", "scale", ["a"], ["b"], body, imports[:1], ["k"])
    nodes = [helper.make_node("scale", [a], [b], domain="own", name=f"call_{b}", k=3.0) for a, b in ("xz", "zy")]
    borders = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in "xy"]
    graph = helper.make_graph(nodes, "g", borders[:1], borders[1:])
    return Model.from_proto(helper.make_model(graph, opset_imports=imports, ir_version=9, functions=[scale]), "net")


def test_inlined_functions_compute_the_same():
    model = calling()
    model.record("before")
    plain = inline_functions(model)
    assert [n.op for n in plain.nodes()] == ["Relu", "Constant", "Mul"] * 2
    assert (plain.name, plain.provenance, plain.inputs(), plain.outputs()) == (
        "net",
        ("before",),
        model.inputs(),
        model.outputs(),
    )
    verify_model(plain)
    x = np.array([-1, 2], np.float32)
    results = [run(m.to_bytes(), {"x": x})[0] for m in (model, plain)]
    assert results[0].tolist() == results[1].tolist() == [0, 18]


def test_a_model_without_functions_is_returned_as_it_is():
    plain = inline_functions(calling())
    assert inline_functions(plain) is plain
