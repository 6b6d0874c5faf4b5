"""What onnx's compiled code ends a process with ends no process of ours."""

import os
import signal

import onnx
import pytest
from onnx import helper

from pfir.errors import FrontendError
from pfir.frontends import load
from pfir.frontends.onnx.survival import ended_by
from tests.test_frontends.files import written


def test_work_that_ends_its_process_is_told_by_its_signal_and_work_that_raises_survives():
    assert ended_by(lambda: os.kill(os.getpid(), signal.SIGSEGV)) == "ends the process with SIGSEGV"
    assert ended_by(lambda: 1 / 0) is None
    assert ended_by(lambda: None) is None


def test_a_model_at_which_onnx_itself_crashes_is_refused(tmp_path):
    """onnx 1.20 takes the type of the input of EyeLike for known, though behind another domain it is not."""
    nodes = [
        helper.make_node("Gelu", ["x"], ["a"], domain="com.microsoft"),
        helper.make_node("EyeLike", ["a"], ["y"], dtype=1),
    ]
    x, y = (helper.make_tensor_value_info(n, 1, [3, 3]) for n in "xy")
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=opsets, ir_version=8)
    if ended_by(lambda: onnx.shape_inference.infer_shapes(model)) is None:
        pytest.skip("this version of onnx checks it")
    with pytest.raises(FrontendError, match="onnx cannot check it: its own code ends the process with SIGSEGV"):
        load(written(tmp_path, model))
