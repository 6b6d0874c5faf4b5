"""Opsets outside 7 to 21 are converted, or refused with the reason."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from pfir.frontends import load
from pfir.run.session import Session
from tests.test_frontends.files import calling, chain, function, model, refusal, value, weight, written


@pytest.mark.parametrize(("opset", "becomes"), [(6, 7), (7, 7), (21, 21), (22, 21), (25, 21)])
def test_opsets_outside_7_to_21_are_converted(tmp_path, opset, becomes):
    proto = model(chain(("x", "y")), opset=opset, ir=12 if opset > 21 else 9)
    proto.metadata_props.add(key="author", value="me")
    loaded = load(written(tmp_path, proto))
    assert loaded.graph.opset == becomes
    out = onnx.load_from_string(loaded.to_bytes())
    assert out.opset_import[0].version == becomes and out.ir_version <= 10
    assert out.metadata_props[0].value == "me"
    loaded.save(tmp_path / "again.onnx")
    written_back = (tmp_path / "again.onnx").read_bytes()
    assert (written_back == proto.SerializeToString()) == (opset == becomes), "what ONNX Runtime takes stays as it was"
    Session(written_back)


def test_a_converted_net_computes_the_same(tmp_path):
    random = np.random.default_rng(0)
    weights = numpy_helper.from_array(random.random((4, 3, 3, 3), np.float32), "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], name="c"), helper.make_node("Relu", ["c"], ["y"], name="r")]
    results = []
    for opset in (6, 13, 23):
        proto = model(nodes, [value("x", [1, 3, 5, 5])], [value("y", [1, 4, 3, 3])], [weights], opset=opset)
        loaded = load(written(tmp_path, proto))
        assert [n.name for n in loaded.nodes()] == ["c", "r"] and list(loaded.initializers()) == ["w"]
        results.append(Session(loaded).predict({"x": np.ones((1, 3, 5, 5), np.float32)})["y"])
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_an_opset_that_cannot_be_converted_is_refused_with_the_reason(tmp_path):
    newer = calling([function("f0", "Relu", 1)], "f0")
    newer.opset_import[0].version = 22
    assert "local functions" in refusal(written(tmp_path, newer))
    nodes = [helper.make_node("Swish", ["x"], ["y"])]
    assert "cannot convert opset 24 to 21" in refusal(written(tmp_path, model(nodes, opset=24)))
    parts = [weight(), *(onnx.numpy_helper.from_array(np.ones(3), name) for name in "bmv")]
    nodes = [helper.make_node("BatchNormalization", ["x", "w", "b", "m", "v"], ["y"])]
    inputs = [value("x", [2, 3, 4, 4]), *(value(name, [3]) for name in "wbmv")]
    mixed = model(nodes, inputs, [value("y", [2, 3, 4, 4])], parts, opset=6, ir=3)
    assert "cannot convert opset 6 to 7" in refusal(written(tmp_path, mixed))
