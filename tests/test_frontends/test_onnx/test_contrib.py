"""What is known of ONNX Runtime's own operators is what ONNX Runtime says itself."""

from __future__ import annotations

import re

import onnxruntime
import pytest
from onnx import TensorProto, helper

from pfir.frontends.onnx.contrib import _REQUIRED, missing_input


def _refused(op: str) -> str:
    """What ONNX Runtime says of the operator without any input."""
    node = helper.make_node(op, [], ["y"], domain="com.microsoft")
    graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    with pytest.raises(Exception, match="not in range") as refusal:
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return str(refusal.value)


@pytest.mark.parametrize("op", _REQUIRED)
def test_the_last_input_that_an_operator_needs_is_the_one_that_onnx_runtime_wants(op):
    assert int(re.search(r"min=(\d+)", _refused(op))[1]) == max(_REQUIRED[op]) + 1


def test_the_first_input_that_is_missing_is_told():
    def node(op, *inputs):
        return helper.make_node(op, inputs, ["y"], domain="com.microsoft")

    assert missing_input(node("QLinearAdd", "a", "s", "", "b")) == 4
    assert missing_input(node("QLinearAdd", "a", "", "", "b", "t", "", "u")) == 1
    assert missing_input(node("QLinearAdd", "a", "s", "", "b", "t", "", "u")) is None
    assert missing_input(node("Nothing that is known")) == 0
    assert missing_input(node("RandomNormal")) is None
