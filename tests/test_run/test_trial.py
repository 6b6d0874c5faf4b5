"""ONNX Runtime is tried out in a process of its own, which alone ends where it crashes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pfir.errors import FrontendError
from pfir.ir.model import Model
from pfir.run.trial import LARGE, Trial, check_safe, refusal, trial
from tests.support.runtime import fault_of_1_19


def _file(*nodes: onnx.NodeProto, element=TensorProto.FLOAT, shape=(2, 3), **arrays: np.ndarray) -> bytes:
    border = [helper.make_tensor_value_info(name, element, dims) for name, dims in (("x", shape), ("y", None))]
    initializers = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(list(nodes), "g", border[:1], border[1:], initializers)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()


def _node(op: str, *inputs: str, **attributes) -> onnx.NodeProto:
    return helper.make_node(op, list(inputs), ["y"], **attributes)


def test_a_model_that_opens_and_runs_has_nothing_said_against_it():
    assert trial(_file(_node("Relu", "x"), shape=("N", 3)), run=True) == Trial(None)


def test_a_refusal_is_told_in_onnx_runtimes_words():
    found = trial(_file(_node("Relu", "x"), element=TensorProto.STRING), run=True)
    assert "Type Error" in found.opening and not found.crashed


@fault_of_1_19
def test_a_crash_while_opening_ends_the_child_alone():
    data = _file(_node("FusedConv", "x", "w", domain="com.microsoft"), shape=(1, 3, 8), w=np.ones((4, 3, 3, 3), "f4"))
    assert trial(data) == Trial("it ends the process with SIGABRT", None, True)
    with pytest.raises(FrontendError, match="refuses the model: it ends the process with SIGABRT"):
        check_safe(Model.from_proto(onnx.load_from_string(data)))


@fault_of_1_19
def test_a_crash_while_running_ends_the_child_alone():
    data = _file(_node("Div", "x", "zero"), element=TensorProto.INT64, zero=np.zeros((), np.int64))
    assert refusal(data) is None
    assert trial(data, run=True) == Trial(None, "it ends the process with SIGFPE", True)
    with pytest.raises(FrontendError, match="cannot be run in ONNX Runtime: it ends the process with SIGFPE"):
        check_safe(Model.from_proto(onnx.load_from_string(data)))


def test_a_run_that_fails_without_a_crash_is_no_danger():
    data = _file(_node("Transpose", "x", perm=[0, 1]), shape=(2, 3, 4))
    assert "perm size" in trial(data, run=True).running
    check_safe(Model.from_proto(onnx.load_from_string(data)))


def test_text_that_is_not_utf8_in_a_message_of_onnx_runtime_is_told():
    data = _file(_node("Resize", "x", "", "s", mode=b"\xff\xfe"), shape=(1, 1, 2, 2), s=np.ones(4, np.float32))
    assert refusal(data) == "a text in it is not UTF-8"


@fault_of_1_19
def test_a_constant_that_would_fill_the_memory_is_refused():
    data = _file(_node("ConstantOfShape", "s"), s=np.array([1 << 30]))
    assert refusal(data) == LARGE == "it takes too much memory"


def test_a_file_in_the_users_folder_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "onnxruntime.py").write_text("raise SystemExit('ran')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    assert refusal(_file(_node("Relu", "x"))) is None
