"""Which nodes share a kernel."""

from __future__ import annotations

from pfir.backends.tvm.fuse import groups
from tests.test_backends.bundle import Bundle


def _groups(bundle: Bundle) -> list[list[str]]:
    model = bundle.model()
    kept = {tensor.name for tensor in model.graph.outputs}
    return [[node.op for node in group.nodes] for group in groups(list(model.nodes()), kept, {"Conv"})]


def _conv(b: Bundle, x: str) -> str:
    return b.node("Conv", x, b.random(4, 4, 1, 1))


def test_a_residual_sum_goes_with_one_convolution_and_comes_after_both():
    b = Bundle()
    x = b.input(1, 4, 5, 5)
    b.output("y", b.node("Relu", b.node("Add", _conv(b, x), _conv(b, x))))
    assert _groups(b) == [["Conv"], ["Conv", "Add", "Relu", "Identity"]]


def test_a_swish_by_parts_is_taken_whole():
    b = Bundle()
    x = _conv(b, b.input(1, 4, 5, 5))
    b.output("y", b.node("Mul", x, b.node("Sigmoid", x)))
    assert _groups(b) == [["Conv", "Sigmoid", "Mul", "Identity"]]


def test_a_value_that_something_else_needs_ends_the_group():
    b = Bundle()
    x = b.node("Relu", _conv(b, b.input(1, 4, 5, 5)))
    b.output("y", _conv(b, x))
    b.output("z", b.node("Tanh", x))
    assert ["Conv", "Relu"] in _groups(b)


def test_a_node_that_broadcasts_to_another_shape_is_not_taken():
    b = Bundle()
    x = _conv(b, b.input(1, 4, 1, 1))
    b.output("y", b.node("Mul", x, b.input(1, 4, 6, 6)))
    assert ["Conv"] in _groups(b)


def test_a_chain_whose_expression_would_explode_is_cut():
    b = Bundle()
    x = b.input(2, 3)
    for _ in range(8):
        x = b.node("Mul", x, b.node("Sigmoid", x))
    b.output("y", x)
    assert len(_groups(b)) > 1
