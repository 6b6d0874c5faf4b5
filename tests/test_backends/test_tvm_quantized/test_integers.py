"""Layers of integers compute what their nodes compute, constants of integers are what the model holds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper

from pfir.backends.tvm import TvmBackend
from pfir.backends.tvm.lowering.form import plain
from pfir.backends.tvm.lowering.lower import Lowering, started
from pfir.backends.tvm.lowering.quantized.integers import integer_layer
from pfir.ir.model import Model
from pfir.target import parse_target
from tests.support.net import Net
from tests.support.runs import run
from tests.test_backends.bundle import sized, under_construction
from tests.test_backends.test_tvm_quantized.nets import QuantizedNet, scales

SCALE, POINT = 0.03, 5


def _walked(net: Net, target: str = "host"):
    """The program of a sketch of the model, after all of it."""
    model, program = started(sized(net), parse_target(target), None)
    values = {tensor.name: program.sketched(_form(tensor)) for tensor in model.graph.inputs}
    lowering = Lowering(program, values)
    lowering.graph(model.graph)
    return model, program, lowering


def _form(tensor):
    return plain(tuple(tensor.shape), np.dtype(tensor.dtype).name)


def _layer(build, target="host", dtype=np.int8):
    """The layer of a model that ends in it, and the model."""
    net = under_construction()
    net.output("y", build(QuantizedNet(net, dtype)))
    model, program, lowering = _walked(net, target)
    node = next(node for node in model.graph.nodes if node.op in ("Conv", "Gemm", "MatMul"))
    data = lowering.numbers(node.inputs[0])
    return integer_layer(program, node, data), sized(net)


def _convolved(layer, data, strides=(1, 1), pads=(0, 0, 0, 0), group=1):
    """The sums of a layer over integers less their zero point."""
    top, left, bottom, right = pads
    padded = np.pad(data, ((0, 0), (0, 0), (top, bottom), (left, right)))
    seen = sliding_window_view(padded, layer.weight.shape[2:], axis=(2, 3))[:, :, :: strides[0], :: strides[1]]
    parts = np.split(seen, group, axis=1), np.split(layer.weight.astype(np.int64), group)
    return np.concatenate([np.einsum("nihwkl,oikl->nohw", x, w) for x, w in zip(*parts, strict=True)], axis=1)


def _result(layer, data, **how):
    sums = _convolved(layer, data, **how) + _column(0 if layer.bias is None else layer.bias)
    return sums * _column(layer.multiplier) + _column(0 if layer.addend is None else layer.addend)


def _column(vector):
    return np.reshape(vector, (1, -1, 1, 1)) if np.size(vector) > 1 else vector


def _conv(*shape, **attributes):
    def build(q: QuantizedNet) -> str:
        channels = shape[1]
        x = q.pair(q.net.input(*shape), SCALE, POINT)
        return q.conv(x, channels, 8, **{"step": SCALE} | attributes)

    return build


@pytest.mark.parametrize(
    ("attributes", "how"),
    [
        ({}, {"pads": (1, 1, 1, 1)}),
        ({"axis": None}, {"pads": (1, 1, 1, 1)}),
        ({"strides": [2, 2], "pads": [0, 0, 1, 1]}, {"pads": (0, 0, 1, 1), "strides": (2, 2)}),
        ({"group": 4}, {"pads": (1, 1, 1, 1), "group": 4}),
        ({"group": 8}, {"pads": (1, 1, 1, 1), "group": 8}),
    ],
)
def test_a_convolution_is_a_layer_of_integers(attributes, how):
    layer, model = _layer(_conv(1, 8, 6, 7, **attributes))
    data = np.random.default_rng(0).integers(-128, 128, (1, 8, 6, 7)) - POINT
    (theirs,) = run(model, {"in0": (data * np.float32(SCALE)).astype(np.float32)})
    np.testing.assert_allclose(_result(layer, data, **how), theirs, atol=1e-4)
    assert layer.bias is not None and layer.addend is None


@pytest.mark.parametrize("op", ["Gemm", "turned Gemm", "MatMul", "MatMul by a Transpose", "Conv of a line"])
def test_other_layers_are_convolutions_of_rows_or_of_a_line(op):
    layer, model = _layer(LAYERS[op])
    (given,) = model.inputs()
    data = np.random.default_rng(0).integers(-128, 128, given.shape) - POINT
    (theirs,) = run(model, {"in0": (data * np.float32(SCALE)).astype(np.float32)})
    if "line" in op:
        ours = _result(layer, data[:, :, None], pads=(0, 1, 0, 1))[:, :, 0]
    else:
        rows = data.reshape(1, 1, -1, data.shape[-1]).transpose(0, 3, 1, 2)
        ours = _result(layer, rows).transpose(0, 2, 3, 1).reshape(theirs.shape)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert layer.data.form.shape == (rows.shape if "line" not in op else (1, 6, 1, 20))


def _gemm(q: QuantizedNet) -> str:
    x = q.pair(q.net.input(5, 12), SCALE, POINT)
    return q.net.op("Gemm", x, q.weight(12, 7, axis=1), q.bias(7, SCALE), alpha=0.5, beta=2.0)


def _turned(q: QuantizedNet) -> str:
    x = q.pair(q.net.input(5, 12), SCALE, POINT)
    return q.net.op("Gemm", x, q.weight(7, 12), q.bias(7, SCALE), transB=1)


def _matmul(q: QuantizedNet) -> str:
    return q.net.op("MatMul", q.pair(q.net.input(2, 5, 12), SCALE, POINT), q.weight(12, 7, axis=1))


def _by_transpose(q: QuantizedNet) -> str:
    weight = q.net.op("Transpose", q.weight(7, 12), perm=[1, 0])
    return q.net.op("MatMul", q.pair(q.net.input(5, 12), SCALE, POINT), weight)


def _line(q: QuantizedNet) -> str:
    x = q.pair(q.net.input(1, 6, 20), SCALE, POINT)
    return q.net.op("Conv", x, q.weight(8, 6, 3), q.bias(8, SCALE), pads=[1, 1])


LAYERS = {
    "Gemm": _gemm,
    "turned Gemm": _turned,
    "MatMul": _matmul,
    "MatMul by a Transpose": _by_transpose,
    "Conv of a line": _line,
}


def test_a_large_bias_is_whole_steps_though_float32_rounds_them():
    def build(q: QuantizedNet) -> str:
        net, weight = q.net, q.weight(8, 4, 1, 1)
        steps = net.const(net.rng.integers(-(2**30), 2**30, 8), np.int32)
        scale = net.const(np.float32(SCALE) * scales(8))
        bias = net.op("DequantizeLinear", steps, scale, net.const(np.zeros(8), np.int32), axis=0)
        return net.op("Conv", q.pair(net.input(1, 4, 5, 5), SCALE, POINT), weight, bias)

    layer, _ = _layer(build)
    assert layer.addend is None and np.abs(layer.bias).max() > 2**24


def test_a_bias_that_leaves_no_room_for_products_is_added_as_it_is():
    def build(q: QuantizedNet) -> str:
        net, weight = q.net, q.weight(8, 4, 1, 1)
        scale = net.const(np.float32(SCALE) * scales(8))
        steps = net.const(np.full(8, 2**30 + 2**8), np.int32)
        bias = net.op("DequantizeLinear", steps, scale, net.const(np.zeros(8), np.int32), axis=0)
        return net.op("Conv", q.pair(net.input(1, 4, 5, 5), SCALE, POINT), weight, bias)

    layer, _ = _layer(build)
    assert layer.bias is None and layer.addend.shape == (8,)


def test_a_bias_that_is_no_whole_number_of_steps_is_added_as_it_is():
    layer, _ = _layer(_conv(1, 8, 6, 7, step=0.017))
    assert layer.bias is None and layer.addend.shape == (8,)


def test_weights_around_another_zero_are_moved_to_zero():
    def build(q: QuantizedNet) -> str:
        x, integers = q.pair(q.net.input(5, 4), SCALE, POINT), q.net.const([[100], [128], [129], [255]], np.uint8)
        weight = q.net.op("DequantizeLinear", integers, q.net.const(np.float32(0.01)), q.net.const(np.uint8(128)))
        return q.net.op("MatMul", x, weight)

    layer, _ = _layer(build)
    assert layer.weight.dtype == np.int8 and layer.weight.ravel().tolist() == [-28, 0, 1, 127]


@pytest.mark.parametrize(
    "weight",
    [
        lambda q: q.net.w(4, 3),
        lambda q: q.weight(4, 3, axis=0),
        lambda q: q.net.op(
            "DequantizeLinear",
            q.net.const(np.full((4, 3), 127), np.int8),
            q.net.const(np.float32(0.1)),
            q.net.const(np.int8(-3)),
        ),
    ],
    ids=["floats", "scales along the sum", "a zero that int8 cannot reach"],
)
def test_other_weights_make_no_layer_of_integers(weight):
    layer, _ = _layer(lambda q: q.net.op("MatMul", q.pair(q.net.input(5, 4), SCALE, POINT), weight(q)))
    assert layer is None


@pytest.mark.parametrize(("target", "dtype", "point"), [("host", "uint8", POINT + 128), ("arm", "int8", POINT)])
@pytest.mark.parametrize("given", [np.int8, np.uint8])
def test_integers_are_of_the_type_that_the_target_stores(target, dtype, point, given):
    layer, _ = _layer(_conv(1, 8, 6, 7), target, given)
    assert (layer.data.form.dtype, layer.zero_point) == (dtype, point)


def test_integers_of_an_input_are_copied_to_the_type_that_the_target_stores():
    net = under_construction()
    q = QuantizedNet(net, np.uint8)
    net.output("y", q.conv(q.floats(net.input(1, 8, 6, 7, dtype=np.uint8), SCALE, POINT), 8, 8))
    model, program, lowering = _walked(net, "arm")
    (node,) = (node for node in model.graph.nodes if node.op == "Conv")
    layer = integer_layer(program, node, lowering.numbers(node.inputs[0]))
    assert (layer.data.form.dtype, layer.zero_point) == ("int8", POINT)
    assert [step.op for step in program.made[-1][0].steps] == ["QuantizeLinear"]


def test_constants_of_four_bits_are_unpacked():
    values = np.array([[1, -8], [7, 0]])
    nodes = [helper.make_node("DequantizeLinear", ["w", "s"], ["d"]), helper.make_node("MatMul", ["x", "d"], ["y"])]
    held = [
        helper.make_tensor("w", TensorProto.INT4, values.shape, values.ravel()),
        helper.make_tensor("s", TensorProto.FLOAT, [], [0.5]),
    ]
    borders = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [3, 2])] for name in ("x", "y")]
    proto = helper.make_model(
        helper.make_graph(nodes, "net", *borders, held), ir_version=10, opset_imports=[helper.make_opsetid("", 21)]
    )
    model, program = started(Model.from_proto(proto), parse_target("arm"), None)
    constant = program.constants["d"]
    assert constant.integers.dtype == np.int8 and constant.integers.tolist() == values.tolist()
    (product,) = model.graph.nodes
    np.testing.assert_array_equal(product.inputs[1].values, values * np.float32(0.5))


def test_kernels_of_integers_are_tuned_alone():
    net = under_construction()
    q = QuantizedNet(net)
    x = q.pair(q.conv(q.features(), 12, 8), 0.05, 2)
    net.output("y", q.pair(net.op("Add", q.pair(q.conv(x, 8, 8, 1), 0.03, 1), x)))
    kernels = TvmBackend().tunables(sized(net), parse_target("cortex-a76"))
    assert [kernel.name.split()[1] for kernel in kernels] == ["int8"] * 3
    for kernel in kernels:
        types = [spec.dtype for spec in kernel.build(kernel.candidates[-1]).inputs]
        assert set(types) == {"int8"}
