"""Which nodes share a kernel."""

from __future__ import annotations

from onnx import TensorProto, ValueInfoProto, helper

from pfir.backends.tvm.lowering.fuse import groups
from pfir.ir.model import Model
from tests.support.net import Net
from tests.test_backends.bundle import sized, under_construction


def _groups(bundle: Net) -> list[list[str]]:
    model = sized(bundle)
    kept = {tensor.name for tensor in model.graph.outputs}
    return [[node.op for node in group.nodes] for group in groups(list(model.nodes()), kept, {"Conv"})]


def _value(name: str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 3])


def _conv(b: Net, x: str) -> str:
    return b.op("Conv", x, b.w(4, 4, 1, 1))


def test_a_residual_sum_goes_with_one_convolution_and_comes_after_both():
    b = under_construction()
    x = b.input(1, 4, 5, 5)
    b.output("y", b.op("Relu", b.op("Add", _conv(b, x), _conv(b, x))))
    assert _groups(b) == [["Conv"], ["Conv", "Add", "Relu", "Identity"]]


def test_a_swish_by_parts_is_taken_whole():
    b = under_construction()
    x = _conv(b, b.input(1, 4, 5, 5))
    b.output("y", b.op("Mul", x, b.op("Sigmoid", x)))
    assert _groups(b) == [["Conv", "Sigmoid", "Mul", "Identity"]]


def test_a_value_that_something_else_needs_ends_the_group():
    b = under_construction()
    x = b.op("Relu", _conv(b, b.input(1, 4, 5, 5)))
    b.output("y", _conv(b, x))
    b.output("z", b.op("Tanh", x))
    assert ["Conv", "Relu"] in _groups(b)


def test_a_value_that_a_body_reads_ends_the_group_and_the_body_stays_out_of_it():
    graph = helper.make_graph
    inner = [graph([helper.make_node(op, ["r"], [op])], op, [], [_value(op)]) for op in ("Tanh", "Abs")]
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="relu"),
        helper.make_node("If", ["c"], ["y"], name="if", then_branch=inner[0], else_branch=inner[1]),
    ]
    border = [_value("x"), helper.make_tensor_value_info("c", TensorProto.BOOL, [])]
    proto = helper.make_model(graph(nodes, "g", border, [_value("y")], value_info=[_value("r")]))
    model = Model.from_proto(proto)
    found = groups(list(model.nodes()), {"y"}, {"Conv"})
    assert [[node.op for node in group.nodes] for group in found] == [["Relu"], ["If"]]


def test_a_node_that_broadcasts_to_another_shape_is_not_taken():
    b = under_construction()
    x = _conv(b, b.input(1, 4, 1, 1))
    b.output("y", b.op("Mul", x, b.input(1, 4, 6, 6)))
    assert ["Conv"] in _groups(b)


def test_a_chain_whose_expression_would_explode_is_cut():
    b = under_construction()
    x = b.input(2, 3)
    for _ in range(8):
        x = b.op("Mul", x, b.op("Sigmoid", x))
    b.output("y", x)
    assert len(_groups(b)) > 1
