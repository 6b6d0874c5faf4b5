"""Nodes that have no kernel of ours, and their share of the time."""

from __future__ import annotations

import pytest
from onnx import parser

from pfir.artifact import SLOW_KERNELS, Artifact
from pfir.commands.bench import Bench, bench, lines
from pfir.commands.untuned_nodes import foreign_nodes, sentence, share_of_foreign
from pfir.devices import host
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.ir.model import Model
from pfir.target import parse_target

CUBIC = """
<ir_version: 8, opset_import: ["" : 13]>
net (float[1, 4, 8, 8] x) => (float[1, 4, 16, 16] y)
<float[4] scales = {1, 1, 2, 2}>
{
    a = Relu (x)
    [grow] b = Resize <mode = "cubic"> (a, , scales)
    y = Sigmoid (b)
}
"""


@pytest.fixture
def cubic(tmp_path):
    path = tmp_path / "cubic.onnx"
    Model.from_proto(parser.parse_model(CUBIC)).save(path)
    return path


def test_bench_names_the_nodes_and_their_share_of_the_time(cubic, monkeypatch):
    monkeypatch.setattr(host, "MIN_REPEAT_S", 0.001)
    found = bench(Bench((cubic,)))
    (row,) = found["models"]
    assert [name.endswith("(Resize)") for name in row["foreign"]["nodes"]] == [True]
    assert 0 < row["foreign"]["share"] < 1
    assert "1 node has no kernel of ours and takes about" in lines(found)[-1]


def test_a_network_of_our_own_kernels_has_no_untuned_nodes(model, monkeypatch):
    monkeypatch.setattr(host, "MIN_REPEAT_S", 0.001)
    (row,) = bench(Bench((model,)))["models"]
    assert "foreign" not in row and row["notes"] == []


def test_a_device_that_times_no_kernels_still_lets_the_nodes_be_named():
    target = parse_target("arm")
    artifact = Artifact("tvm", target, {}, "", (), (), notes={SLOW_KERNELS: "a (Mod), b, c (Resize)"})
    found = foreign_nodes(artifact, EstimateDevice(target))
    assert found == {"nodes": ["a (Mod)", "b, c (Resize)"], "share": None}
    assert sentence(found) == "2 nodes have no kernel of ours: a (Mod), b, c (Resize)"


def test_the_share_of_untuned_nodes_is_of_the_time_of_all_kernels():
    assert share_of_foreign({"conv_1": 3.0, "op_resize2d": 1.0, "affine": 0.0}) == 0.25
    assert share_of_foreign({}) is None


def test_of_many_untuned_nodes_a_few_are_named():
    found = {"nodes": [f"n{i} (Mod)" for i in range(7)], "share": 0.5}
    assert sentence(found).endswith("50 % of the time: n0 (Mod), n1 (Mod), n2 (Mod), n3 (Mod), n4 (Mod) and 2 more")
