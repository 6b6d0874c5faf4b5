"""Linear layers: their description gives what ONNX Runtime computes, on every structure family."""

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from pfir.ir.edit import operand
from pfir.ir.linear import PLAIN, Layout, linear_layer, linear_layers, plain_layer
from pfir.ir.operators.records import Form
from pfir.ir.operators.table import operator_of
from tests.support.forward import forward, products, told, values_of
from tests.support.net import Net, feeds
from tests.support.structures import FAMILIES, build

TOLERANCE = {"float16": 2e-2, "float32": 1e-4, "float64": 1e-9}
ACTIVATIONS = {"": lambda y: y, "Relu": lambda y: np.maximum(y, 0)}


@pytest.mark.parametrize("family", FAMILIES)
def test_matrix_times_features_is_what_onnx_runtime_computes(family):
    model = build(family, 5)
    values = values_of(model, feeds(model, 5))
    for layer in linear_layers(model):
        _check(layer, values)


def _check(layer, values):
    wanted, got = forward(layer, values), values[layer.node.outputs[0].name]
    summand = operand(layer.node, 3) if layer.node.op == "FusedConv" else None
    wanted = wanted if summand is None else wanted + values[summand.name]
    wanted = ACTIVATIONS[layer.node.attrs.get("activation", "")](wanted)
    if got.dtype.kind != "f" and layer.operator.result is not None:
        _check_integers(layer, got, wanted, values)
        return
    # A layer that quantizes its data in the range of the run is off by half a step of it, and so is each product.
    steps = layer.is_integer and values[layer.data.name].dtype.kind == "f"
    atol = 0.05 * np.abs(wanted).max() if steps else TOLERANCE.get(got.dtype.name, 0)
    assert got.shape == wanted.shape, layer.node.name
    np.testing.assert_allclose(got, wanted, rtol=TOLERANCE.get(got.dtype.name, 0), atol=atol, err_msg=layer.node.name)


def _check_integers(layer, got, wanted, values):
    """Off by half a step, unless the result is at the end of its range."""
    made = layer.operator.result
    real, step = told(layer.node, made, got, -1, values), values[operand(layer.node, made.scale).name]
    limits = np.iinfo(got.dtype)
    inside = (got > limits.min) & (got < limits.max)
    assert inside.any()
    np.testing.assert_allclose(real[inside], wanted[inside], rtol=0, atol=float(step.max()) * 0.51)


FORMS = {
    "Gemm, both turned and scaled": lambda net: net.op(
        "Gemm", net.input(4, 3), net.w(5, 4), net.w(5), transA=1, transB=1, alpha=0.5, beta=-2.0
    ),
    "Gemm with a row of biases": lambda net: net.op("Gemm", net.input(3, 4), net.w(4, 5), net.w(1, 5), beta=3.0),
    "FusedGemm": lambda net: net.op(
        "FusedGemm",
        net.input(3, 4),
        net.w(4, 5),
        net.w(5),
        domain="com.microsoft",
        activation="Relu",
        alpha=2.0,
        beta=0.5,
    ),
    "MatMul, the weight first": lambda net: net.op("MatMul", net.w(5, 4), net.input(2, 4, 3)),
    "MatMul of a vector": lambda net: net.op("MatMul", net.input(4), net.w(4, 5)),
    "Conv with strides, dilations and pads": lambda net: net.op(
        "Conv", net.input(2, 4, 9, 8), net.w(6, 2, 2, 3), group=2, strides=[2, 1], dilations=[1, 2], pads=[0, 1, 2, 3]
    ),
    "Conv, SAME_UPPER": lambda net: net.op(
        "Conv", net.input(2, 3, 9, 8), net.w(4, 3, 2, 4), net.w(4), auto_pad="SAME_UPPER", strides=[2, 3]
    ),
    "Conv, SAME_LOWER": lambda net: net.op(
        "Conv", net.input(2, 3, 9, 8), net.w(4, 3, 2, 4), net.w(4), auto_pad="SAME_LOWER", strides=[2, 3]
    ),
    "Conv of one axis": lambda net: net.op("Conv", net.input(2, 3, 9), net.w(4, 3, 3), auto_pad="VALID"),
    "Conv of three axes": lambda net: net.op("Conv", net.input(2, 3, 4, 5, 6), net.w(4, 3, 3, 2, 1)),
    "ConvTranspose with all it can have": lambda net: net.op(
        "ConvTranspose",
        net.input(2, 4, 5, 4),
        net.w(4, 3, 3, 2),
        net.w(6),
        group=2,
        strides=[2, 3],
        dilations=[2, 1],
        pads=[1, 0, 2, 1],
        output_padding=[1, 0],
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_attributes_are_read_as_onnx_runtime_reads_them(form):
    net = Net(3)
    model = net.model((FORMS[form](net),))
    (layer,) = linear_layers(model)
    _check(layer, values_of(model, feeds(model, 3)))


@pytest.mark.parametrize("kind", PLAIN)
def test_every_plain_operator_is_checked_somewhere(kind):
    assert any(node.op == kind for family in FAMILIES for node in build(family, 5).nodes())


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((6, 2, 3, 3), Layout(2)),
        ((6, 2, 3), Layout(3, inputs_first=True)),
        ((4, 5), Layout()),
        ((4, 5), Layout(inputs_first=True)),
    ],
)
def test_a_weight_and_its_blocks_are_two_forms_of_the_same(shape, layout):
    weight = np.random.default_rng(0).standard_normal(shape)
    blocks = layout.blocks(weight)
    assert blocks.shape[0] * blocks.shape[1] == layout.outputs(shape)
    assert blocks.shape[0] * blocks.shape[2] == layout.inputs(shape)
    np.testing.assert_array_equal(layout.weight(blocks, shape), weight)


def test_blocks_of_several_groups_are_zero_between_them():
    blocks = np.arange(1.0, 9.0).reshape(2, 2, 2)
    whole = Layout.across_groups(blocks)
    np.testing.assert_array_equal(whole, [[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 5, 6], [0, 0, 7, 8]])
    np.testing.assert_array_equal(Layout.across_groups(blocks[:1]), blocks[0])


@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_transposed_convolution_is_the_adjoint_of_the_convolution(strides, groups):
    """<W x, y> = <x, W^T y>, since a ConvTranspose's weight is that of the Conv whose gradient it is."""
    rng = np.random.default_rng(1)
    weight, x = rng.standard_normal((4, 3, 2, 3)), rng.standard_normal((2, 3 * groups, 7, 9))
    forth, back = (linear_layer(_node(op, weight, groups, strides)) for op in ("Conv", "ConvTranspose"))
    made = products(forth, weight, x)
    y = rng.standard_normal(made.shape)
    returned = products(back, weight, y)
    part = tuple(slice(0, n) for n in returned.shape)
    assert np.isclose((made * y).sum(), (x[part] * returned).sum())


def _node(op, weight, groups, strides):
    attributes = {"group": groups, "strides": list(strides)}
    inputs = [gs.Variable("x", np.float64), gs.Constant("w", weight)]
    return gs.Node(op, op, attributes, inputs, [gs.Variable("y", np.float64)])


def test_the_layers_of_a_model_are_those_whose_weights_depend_on_no_input():
    assert [layer.node.op for layer in linear_layers(build("made_weights", 0))] == ["MatMul", "Gemm", "MatMul"]
    products_of_activations = [n for n in build("attention", 0).nodes() if n.op == "MatMul"]
    found = [layer.node.name for layer in linear_layers(build("attention", 0))]
    assert len(products_of_activations) == len(found) + 2


def test_a_stack_of_matrices_is_a_layer_without_a_layout():
    model = build("stacked_matmul", 0)
    stacks = [n for n in model.nodes() if n.op == "MatMul" and isinstance(n.inputs[1], gs.Constant)]
    stacks = [linear_layer(node) for node in stacks if node.inputs[1].values.ndim > 2]
    assert stacks and not any(layer.is_laid_out for layer in stacks)
    assert not {layer.node.name for layer in stacks} & {layer.node.name for layer in linear_layers(model)}


def test_scales_and_zero_points_are_told_of_integers_and_of_what_dequantizes_them():
    model = build("quantized_weights", 0)
    known = {layer.node.name: layer for layer in linear_layers(model)}
    quantized = [layer for layer in known.values() if layer.weight_scale is not None]
    assert [layer.weight.inputs[0].op for layer in quantized] == ["DequantizeLinear"]
    layer = next(x for x in linear_layers(build("quantized_residual", 0)) if x.node.op == "QGemm")
    assert layer.weight_scale is layer.node.inputs[4] and layer.weight_zero_point is layer.node.inputs[5]
    plain = next(linear_layers(build("chain", 0)))
    assert plain.weight_scale is None and plain.weight_zero_point is None


def test_only_onnx_own_layers_on_floats_are_plain():
    kinds = {node.op: plain_layer(node) for f in ("quantized_operators", "chain") for node in build(f, 0).nodes()}
    assert {kind for kind, layer in kinds.items() if layer is not None} == {"Conv", "Gemm"}
    assert kinds["Conv"].operator.form is Form.CONVOLUTION


def test_zeros_are_added_where_a_convolution_pads_and_wherever_windows_overlap():
    weight = np.zeros((2, 2, 3, 3))
    node = _node("Conv", weight, 1, (1, 1))
    assert not linear_layer(node).adds_zeros
    node.attrs["pads"] = [1, 1, 1, 1]
    assert linear_layer(node).adds_zeros
    node.attrs = {"auto_pad": "SAME_UPPER"}
    assert linear_layer(node).adds_zeros
    assert linear_layer(_node("ConvTranspose", weight, 1, (1, 1))).adds_zeros


def test_a_node_without_a_weight_is_no_layer():
    node = _node("Conv", np.zeros((2, 2, 3, 3)), 1, (1, 1))
    node.inputs.pop()
    assert linear_layer(node) is None and operator_of(node) is not None
