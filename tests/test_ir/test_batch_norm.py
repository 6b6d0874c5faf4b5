"""A BatchNormalization told by its parts."""

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from pfir.ir.batch_norm import batch_norm
from tests.support.forward import values_of
from tests.support.net import feeds
from tests.support.structures import build


def norm_of(model):
    return next(norm for norm in map(batch_norm, model.nodes()) if norm is not None)


def test_its_parts_give_what_onnx_runtime_computes():
    model = build("chain", 0)
    norm, values = norm_of(model), values_of(model, feeds(model))
    scale, shift, mean, variance = (part.reshape(-1, 1, 1) for part in norm.arrays)
    x = values[norm.node.inputs[0].name]
    wanted = scale * (x - mean) / np.sqrt(variance + norm.epsilon) + shift
    np.testing.assert_allclose(values[norm.node.outputs[0].name], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("training_mode", 1, "it is in training mode"), ("spatial", 0, "it has one scale per position (spatial=0)")],
)
def test_an_attribute_that_makes_it_no_fixed_map_is_told(name, value, reason):
    norm = norm_of(build("chain", 0))
    assert norm.refusal == ""
    norm.node.attrs[name] = value
    assert norm.refusal == reason


def test_statistics_that_somebody_reads_are_told():
    norm = norm_of(build("chain", 0))
    updated = gs.Variable("updated", np.float32)
    norm.node.outputs.append(updated)
    assert norm.refusal == ""
    gs.Node("Identity", inputs=[updated], outputs=[gs.Variable("seen", np.float32)])
    assert norm.refusal == "its running statistics are outputs"


def test_computed_numbers_are_no_arrays():
    model = build("chain", 0)
    node = norm_of(model).node
    node.inputs[4] = gs.Variable("variance", np.float32)
    norm = batch_norm(node)
    assert norm.arrays is None and norm.statistics[0] is not None and norm.statistics[1] is None


def test_another_node_is_none():
    assert all(batch_norm(node) is None for node in build("chain", 0).nodes() if node.op != "BatchNormalization")
