import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pfir.commands.opt import OptRequest, optimize
from pfir.errors import DataError, FrontendError, UsageError, VerifyError
from pfir.frontends import load
from pfir.ir.model import Model
from pfir.run.session import Session
from pfir.run.trial import LARGE, LATE
from tests.support.jobs import write_model
from tests.support.net import Net, parsed
from tests.support.runs import assert_same
from tests.support.structures import build


def _optimize(model, output, passes, data=None, keep=(), only=()):
    return optimize(OptRequest(model, passes, output, data, keep=keep, only=only))


def test_simplifying_changes_no_output(model, tmp_path):
    _optimize(model, tmp_path / "out.onnx", "simplify,fold-batch-norm")
    assert_same(load(model), load(tmp_path / "out.onnx"), tolerance=1e-4)


def test_a_pass_that_changes_nothing_gives_the_bytes_back(model, tmp_path):
    _optimize(model, tmp_path / "a.onnx", "remove-dead-channels")
    assert (tmp_path / "a.onnx").read_bytes() == model.read_bytes()


def test_pruning_keeps_interface_and_what_is_kept(model, tmp_path):
    notes = _optimize(model, tmp_path / "out.onnx", "prune-channels{ratio=0.5}", keep=("Conv_4",))
    before, after = load(model), load(tmp_path / "out.onnx")
    assert after.inputs() == before.inputs() and after.outputs() == before.outputs()
    shapes = {n.name: n.inputs[1].values.shape for n in after.nodes() if n.op == "Conv"}
    assert shapes == {"Conv_1": (8, 3, 3, 3), "Conv_4": (24, 8, 3, 3), "Conv_7": (16, 24, 3, 3)}
    assert notes[-1].endswith("before") and any("prune" in p for p in after.provenance)
    onnx.checker.check_model(onnx.load(tmp_path / "out.onnx"), full_check=True)


def test_reconstruction_takes_its_data_from_the_user(model, data, tmp_path):
    with pytest.raises(UsageError, match="--data"):
        _optimize(model, tmp_path / "out.onnx", "prune-channels{ratio=0.5 reconstruct=true}")
    assert not (tmp_path / "out.onnx").exists()
    _optimize(model, tmp_path / "out.onnx", "prune-channels{ratio=0.5 reconstruct=true}", data)
    assert (tmp_path / "out.onnx").exists()


def test_data_that_does_not_fit_is_refused(model, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 2, 16, 16), np.float32))
    with pytest.raises(DataError):
        _optimize(model, tmp_path / "out.onnx", "simplify", str(tmp_path / "x.npz"))


def _integers(folder, op):
    border = [helper.make_tensor_value_info(name, TensorProto.INT64, [2]) for name in "xy"]
    nodes = [helper.make_node(op, ["x"], ["i"]), helper.make_node("Identity", ["i"], ["y"])]
    imports = [helper.make_opsetid("", 17)]
    graph = helper.make_graph(nodes, "g", border[:1], border[1:])
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=8), folder / "in.onnx")
    return folder / "in.onnx"


def test_what_onnx_runtime_does_not_open_is_not_written(tmp_path, monkeypatch):
    path, output = _integers(tmp_path, "Abs"), tmp_path / "out.onnx"
    output.write_bytes(b"as it was")
    to_bytes = Model.to_bytes
    monkeypatch.setattr(Model, "to_bytes", lambda model: to_bytes(model).replace(b"Abs", b"Not"))
    with pytest.raises(VerifyError, match="does not open what the passes made, so nothing is written"):
        _optimize(path, output, "simplify")
    assert output.read_bytes() == b"as it was" and sorted(p.name for p in tmp_path.iterdir()) == ["in.onnx", "out.onnx"]


def test_what_is_no_regular_file_is_not_replaced_by_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is no regular file, and would be replaced by one"):
        _optimize(_integers(tmp_path, "Relu"), tmp_path / "pipe", "simplify")
    with pytest.raises(UsageError, match="is no regular file"):
        load(tmp_path / "in.onnx").save(tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


def test_a_model_that_onnx_runtime_never_opened_is_written_with_a_note(tmp_path):
    path, output = _integers(tmp_path, "Relu"), tmp_path / "out.onnx"
    notes = _optimize(path, output, "simplify")
    assert [n.op for n in load(output).nodes()] == ["Relu"]
    assert any("opens neither this model nor the one that was given: Could not find an impl" in n for n in notes)


def test_given_sizes_count_the_cost_and_leave_the_model_dynamic(tmp_path):
    net, passes = Net(0), "prune-channels{macs=0.5}"
    path = write_model(tmp_path, net.model((net.head(net.relu(net.conv(net.input("N", 3, "H", "W"), 3, 8)), 8),)))
    with pytest.raises(UsageError, match=r"--input-shape in0=1x3x\?x\?"):
        optimize(OptRequest(path, passes, tmp_path / "out.onnx"))
    optimize(OptRequest(path, passes, tmp_path / "out.onnx", input_shapes={"in0": (1, 3, 8, 8)}))
    after = load(tmp_path / "out.onnx")
    assert after.inputs() == load(path).inputs() and next(after.nodes()).inputs[1].shape[0] == 4
    assert Session(after).predict({"in0": np.zeros((2, 3, 5, 6), np.float32)})
    with pytest.raises(UsageError, match="the model fixes it to 3"):
        optimize(OptRequest(path, "simplify", tmp_path / "no.onnx", input_shapes={"in0": (1, 4, 8, 8)}))
    assert not (tmp_path / "no.onnx").exists()


@pytest.mark.parametrize(("opset", "ir_version"), [(13, 13), (25, 10), (22, 13)])
def test_a_file_that_onnx_runtime_is_too_old_for_is_written_anew_though_no_pass_changed_it(tmp_path, opset, ir_version):
    relu = helper.make_node("Relu", ["x"], ["y"])
    x, y = (onnx.helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy")
    graph = onnx.helper.make_graph([relu], "g", [x], [y])
    opsets = [onnx.helper.make_opsetid("", opset)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=ir_version), tmp_path / "m.onnx")
    _optimize(tmp_path / "m.onnx", tmp_path / "out.onnx", "fold-batch-norm")
    assert Session((tmp_path / "out.onnx").read_bytes()).predict({"x": np.float32([-1, 1])})["y"].tolist() == [0, 1]


def test_passes_that_change_nothing_leave_constant_nodes_where_they_are(tmp_path):
    path = write_model(tmp_path, build("hidden_weights", 1))
    notes = _optimize(path, tmp_path / "out.onnx", "fold-batch-norm")
    assert (tmp_path / "out.onnx").read_bytes() == path.read_bytes()
    count = len(list(load(path).nodes()))
    assert notes[-1].endswith(f": {count} nodes, {count} before")


def test_a_model_that_cannot_run_is_told_from_a_fault_of_the_passes(tmp_path):
    model = parsed(
        """net (float[N,3] x) => (float[A,B,C] y) {
        sizes = Shape(x)
        axis = Gather<axis = 0>(sizes, one)
        y = Unsqueeze(x, axis)
    }""",
        one=np.array([1]),
    )
    model.save(tmp_path / "m.onnx")
    with pytest.raises(FrontendError, match="m: the model cannot be run in ONNX Runtime: .*Unsqueeze"):
        _optimize(tmp_path / "m.onnx", tmp_path / "out.onnx", "simplify")
    assert not (tmp_path / "out.onnx").exists()


@pytest.mark.parametrize("limit", [LATE, LARGE])
def test_a_model_that_takes_onnx_runtime_too_much_is_written_with_a_note(limit, tmp_path, monkeypatch):
    monkeypatch.setattr("pfir.commands.opt.refusal", lambda written: limit)
    path = write_model(tmp_path)
    notes = _optimize(path, tmp_path / "out.onnx", "simplify")
    assert any(f"was not found out: {limit}" in note for note in notes) and (tmp_path / "out.onnx").exists()
