"""Multiply-accumulates in bodies, local functions and quantized operators."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper, numpy_helper, parser

from pfir.ir.costs.model_cost import model_cost
from pfir.ir.costs.scalable import ScalableKernels
from pfir.ir.coupling.channels import channel_counts, channel_groups, remove_channels
from pfir.ir.model import Model
from tests.support.masking import removal
from tests.support.net import SIZES, parsed, random
from tests.support.structures import FAMILIES, build

LAYER = 3 * 5 * 16  # of a 1x1 convolution from 3 to 5 channels on 4x4


def conv(x: str, y: str) -> str:
    return f"{y} = Conv({x}, w)"


BODIES = {
    "the dearest branch of an If": (
        f"""g (float[N,3,4,4] x, bool c) => (float[a,b,d,e] y) {{
            y = If(c) <then_branch = t () => (float[a,b,d,e] t2) {{ {conv("x", "t1")} t2 = Conv(t1, u) }},
                       else_branch = f () => (float[a,b,d,e] f1) {{ {conv("x", "f1")} }}>
        }}""",
        LAYER + 5 * 5 * 16,
    ),
    "every run of a Loop": (
        f"""g (float[N,3,4,4] x, bool c) => (float[a,b,d,e] last, float[k,l,m,n,o] y) {{
            runs = Constant<value = int64 {{7}}>()
            last, y = Loop(runs, c, x) <body = l (int64 i, bool go, float[a,b,d,e] s)
                => (bool on, float[a,b,d,e] r, float[a,b,d,e] z) {{
                    on = Identity(go) r = Relu(s) {conv("r", "z")} }}>
        }}""",
        7 * LAYER,
    ),
    "one run of a Loop that only its condition ends": (
        f"""g (float[N,3,4,4] x, bool c) => (float[a,b,d,e] last, float[k,l,m,n,o] y) {{
            last, y = Loop("", c, x) <body = l (int64 i, bool go, float[a,b,d,e] s)
                => (bool on, float[a,b,d,e] r, float[a,b,d,e] z) {{
                    on = Identity(go) r = Relu(s) {conv("r", "z")} }}>
        }}""",
        LAYER,
    ),
    "every step of a Scan": (
        f"""g (float[N,3,4,4] x, float[6,1,3,4,4] xs) => (float[a,b,d,e] last, float[k,l,m,n,o] y) {{
            last, y = Scan<num_scan_inputs = 1, body = l (float[a,b,d,e] s, float[f,g,h,i] v)
                => (float[a,b,d,e] r, float[a,b,d,e] z) {{ r = Add(s, v) {conv("r", "z")} }}>(x, xs)
        }}""",
        6 * LAYER,
    ),
}


@pytest.mark.parametrize("name", BODIES)
def test_macs_in_bodies_count(name):
    text, expected = BODIES[name]
    model = parsed(text.replace('""', ""), opset=16, w=random(5, 3, 1, 1), u=random(5, 5, 1, 1))
    assert model_cost(model).macs == expected


def test_macs_in_local_functions_count():
    text = """<ir_version: 8, opset_import: ["" : 16, "local" : 1]>
        g (float[1,3,4,4] x, float[5,3,1,1] w) => (float[a,b,c,d] y) { z = local.f(x, w) y = Relu(z) }
        <opset_import: ["" : 16], domain: "local">
        f (a, b) => (c) { c = Conv(a, b) }"""
    proto = parser.parse_model(text)
    del proto.graph.input[1]
    proto.graph.initializer.append(numpy_helper.from_array(random(5, 3, 1, 1), "w"))
    model = Model.from_proto(proto)
    assert model_cost(model).macs == LAYER and ScalableKernels(model, {}).macs_at({}) == LAYER


def _quantized(kind: str, inputs: int, places: dict[int, np.ndarray], data: tuple[int, ...], **attributes) -> Model:
    """A node of ONNX Runtime's, its input uint8 but where that is made inside, then a Relu or an Identity."""
    dtype = np.float32 if kind.startswith("Dynamic") else np.uint8
    names = ["x", *(f"c{i}" for i in range(1, inputs))]
    scalars = {i: np.array(0.1, np.float32) for i in range(1, inputs) if i not in places}
    arrays = [numpy_helper.from_array(a, f"c{i}") for i, a in sorted({**scalars, **places}.items())]
    nodes = [
        helper.make_node(kind, names, ["y"], "node", domain="com.microsoft", **attributes),
        helper.make_node("Shape", ["y"], ["s"], "after"),
    ]
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    borders = helper.make_tensor_value_info("x", element, data), helper.make_tensor_value_info("s", 7, ["r"])
    graph = helper.make_graph(nodes, "g", borders[:1], borders[1:], arrays)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return Model.from_proto(helper.make_model(graph, opset_imports=opsets, ir_version=8))


W = np.ones((6, 4), np.int8)
QUANTIZED = {
    "QGemm": (6, {2: np.uint8(0), 3: W, 5: np.int8(0)}, {}),
    "QGemm of integers": (
        9,
        {2: np.uint8(0), 3: np.ascontiguousarray(W.T), 5: np.int8(0), 6: np.zeros(4, np.int32), 8: np.uint8(0)},
        {"transB": 1},
    ),
    "MatMulIntegerToFloat": (4, {1: W}, {}),
    "DynamicQuantizeMatMul": (3, {1: W}, {}),
}


@pytest.mark.parametrize("name", QUANTIZED)
def test_macs_of_quantized_products_of_onnx_runtime_count(name):
    inputs, places, attributes = QUANTIZED[name]
    places = {i: np.asarray(a) for i, a in places.items()}
    assert model_cost(_quantized(name.split()[0], inputs, places, (3, 6), **attributes)).macs == 3 * 6 * 4


@pytest.mark.parametrize("family", [name for name in FAMILIES if "quantized" in name])
def test_quantized_networks_have_the_cost_of_their_layers(family):
    assert model_cost(build(family, 1)).macs > 0


NESTED = [name for name, (make, _) in FAMILIES.items() if make.__module__.endswith(("bodies", "sharing"))]


# Which branch is the dearest is settled before: in this family it is the other one afterwards.
@pytest.mark.parametrize("family", [name for name in NESTED if name != "branches_with_layers"])
def test_costs_as_functions_of_widths_are_those_of_the_pruned_net(family):
    model = build(family, 2)
    coupling = channel_groups(model)
    removed = removal(coupling, 2)
    kept = {g.name: g.size - len(removed.get(g.name, ())) for g in coupling.free()}
    shapes = {t.name: [SIZES.get(s, s) for s in t.shape] for t in model.graph.inputs}
    found = ScalableKernels(model, channel_counts(coupling), shapes)
    remove_channels(model, coupling, removed)
    for tensor in model.graph.inputs:
        tensor.shape = shapes[tensor.name]
    cost = model_cost(model)
    assert found.macs_at(kept) == cost.macs
    # What layers share counts once in a model, and as often as it is read in the formulas.
    more = found.parameters_at(kept) - cost.parameters
    assert more >= 0 if family.startswith("one_") else more == 0
