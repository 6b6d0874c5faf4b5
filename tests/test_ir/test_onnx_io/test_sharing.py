"""Constants that several nodes share: apart in memory, together in files."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import parser

from pfir.ir.constants.settle import settle_constants
from pfir.ir.costs.model_cost import model_cost
from pfir.ir.coupling.channels import channel_groups
from pfir.ir.model import Model
from pfir.passes import pipeline
from pfir.passes.base import Context
from pfir.passes.spec import parse
from tests.support.net import feeds
from tests.support.runs import run
from tests.support.structures import FAMILIES, build

CHAIN = """<ir_version: 8, opset_import: ["" : 17]>
chain (float[N,3,8,8] x) => (float[N,4,8,8] y)
<float[6,3,1,1] w1 = {WIDE}, float[6,6,1,1] w2 = {SQUARE}, float[4,6,1,1] w3 = {NARROW}, float[6] z = {0,0,0,0,0,0}> {
    a = Conv(x, w1, z)
    b = Relu(a)
    c = Conv(b, w2, z)
    d = Mul(c, c)
    y = Conv(d, w3)
}"""
NUMBERS = {"WIDE": 18, "SQUARE": 36, "NARROW": 24}


def chain(change=lambda text: text) -> onnx.ModelProto:
    text = change(CHAIN)
    rng = np.random.default_rng(0)
    for word, count in NUMBERS.items():
        text = text.replace(word, ", ".join(f"{v:.3f}" for v in rng.standard_normal(count)))
    return parser.parse_model(text)


def test_layers_that_share_a_bias_of_zeros_are_groups_of_their_own():
    coupling = channel_groups(Model.from_proto(chain()))
    assert [len(g.producers) for g in coupling.free()] == [1, 1]


def test_a_kernel_that_two_layers_share_stays_shared():
    model = Model.from_proto(chain(lambda text: text.replace("Conv(b, w2, z)", "Conv(b, w2)\n e = Conv(c, w2)")))
    shared = [n.inputs[1] for n in model.nodes() if n.op == "Conv"]
    assert shared[1] is shared[2]


def test_one_vector_at_two_places_of_a_node_is_two():
    text = CHAIN.replace("Mul(c, c)", "BatchNormalization(c, z, z, z, z)")
    (norm,) = [n for n in Model.from_proto(chain(lambda _: text)).nodes() if n.op == "BatchNormalization"]
    assert len({id(t) for t in norm.inputs[1:]}) == 4


def test_what_is_still_equal_is_written_once_and_what_is_not_twice():
    model = Model.from_proto(chain())
    model.source = None
    names = ["w1", "z", "w2", "w3"]
    assert [t.name for t in onnx.ModelProto.FromString(model.to_bytes()).graph.initializer] == names
    model.set_arrays({"z_1": np.ones(6, np.float32)})
    assert [t.name for t in onnx.ModelProto.FromString(model.to_bytes()).graph.initializer] == [*names[:3], "z_1", "w3"]


def test_equal_arrays_are_shared_by_what_they_hold_and_never_unless_they_came_so():
    model = Model.from_proto(chain())
    model.source = None
    before = model.to_bytes()
    model.set_arrays({name: t.values.copy() for name, t in model.initializers().items()})
    assert model.to_bytes() == before
    apart = Model.from_proto(
        chain(
            lambda text: text.replace("c = Conv(b, w2, z)", "c = Conv(b, w2, v)").replace(
                "float[6] z =", "float[6] v = {0,0,0,0,0,0}, float[6] z ="
            )
        )
    )
    assert "v" in [t.name for t in onnx.ModelProto.FromString(apart.to_bytes()).graph.initializer]


def test_a_copy_has_the_same_names_and_shares_the_same_arrays():
    model = Model.from_proto(chain())
    copy = model.clone()
    assert list(copy.initializers()) == list(model.initializers()) == list(Model.from_proto(chain()).initializers())
    assert copy.initializers()["z"].values is copy.initializers()["z_1"].values


def test_what_is_shared_counts_once():
    assert model_cost(Model.from_proto(chain())).parameters == sum(NUMBERS.values()) + 6


def test_a_weight_and_its_norm_stay_one():
    change = CHAIN.replace("c = Conv(b, w2, z)", "n = ReduceL2<keepdims = 1>(w2)\n u = Div(w2, n)\n c = Conv(b, u, z)")
    divided = next(n for n in Model.from_proto(chain(lambda _: change)).nodes() if n.op == "Div")
    assert len(divided.inputs[0].outputs) == 2


def test_large_tables_are_not_copied():
    head = '<ir_version: 8, opset_import: ["" : 17]> g (float[N,2,80,80] x, float[1,1,80,80] m) => (y)'
    text = head + "{ a = Add(x, m) y = Mul(a, m) }"
    proto = parser.parse_model(text)
    del proto.graph.input[1]
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1, 1, 80, 80), np.float32), "m"))
    add, mul = Model.from_proto(proto).nodes()
    assert add.inputs[1] is mul.inputs[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_settling_constants_changes_no_output_and_hides_no_weight(family):
    model = build(family, 3)
    settled = model.clone()
    settle_constants(settled)
    inputs = feeds(model, 3)
    for got, wanted in zip(run(settled, inputs), run(model, inputs), strict=True):
        np.testing.assert_array_equal(got, wanted)
    assert not any(n.op == "Constant" for n in settled.nodes())
    assert len(channel_groups(settled).free()) >= len(channel_groups(model).free())


HIDDEN = (
    ("Constant nodes", "k = Constant<value = float[6,6,1,1] {SQUARE}>()\n c = Conv(b, k, z)"),
    ("Identity", "k = Identity(w2)\n c = Conv(b, k, z)"),
    ("Identity of a Constant", "j = Constant<value = float[6,6,1,1] {SQUARE}>()\n k = Identity(j)\n c = Conv(b, k, z)"),
)


@pytest.mark.parametrize(("name", "layer"), HIDDEN, ids=[name for name, _ in HIDDEN])
def test_weights_are_ranked_wherever_they_lie(name, layer):
    plain = Model.from_proto(chain())
    hidden = Model.from_proto(chain(lambda text: text.replace("c = Conv(b, w2, z)", layer)))
    passes = parse("prune-channels{ratio=0.5 criterion=l1}")
    x = {"x": np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)}
    expected, got = (run(pipeline.run(passes, model, Context())[0], x) for model in (plain, hidden))
    np.testing.assert_array_equal(got[0], expected[0])
