"""Two layers stand for one: the nearest of their rank, never dearer, and the same where nothing is lost."""

from __future__ import annotations

import json

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfir.compile.methods.candidates import adopt
from pfir.compile.request import Goals
from pfir.compile.training import teaching
from pfir.errors import UsageError
from pfir.frontends import load
from pfir.ir.costs.model_cost import model_cost
from pfir.ir.coupling.bodies import every_graph
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.passes.base import Change, Context
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.batch_norm.restore import RestoreBatchNorm
from pfir.passes.factorize import LOWEST_RANK, Factorize
from pfir.passes.pipeline import run as run_passes
from pfir.passes.simplification.simplify import Simplify
from tests.support.calibration import context
from tests.support.jobs import CLASSES, short_runs, write_data, write_model
from tests.support.jobs import run as compile_job
from tests.support.models import REAL, shared_model
from tests.support.net import Net, feeds, parsed, random
from tests.support.runs import assert_same, assert_valid, ops, run
from tests.support.structures import FAMILIES, build

A, B = 12, 8
"""Inputs and outputs of the layers here: of rank 4, two cost 80 MACs where one costs 96."""


def nearest(matrix: np.ndarray, rank: int) -> np.ndarray:
    """The best approximation of a rank, by the theorem of Eckart and Young."""
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    return ((left[:, :rank] * values[:rank]) @ right[:rank]).astype(matrix.dtype)


def low_rank(rows: int, columns: int, rank: int) -> np.ndarray:
    return (random(rows, rank, seed=1) @ random(rank, columns, seed=2)).astype(np.float32)


def factorized(model: Model, **fields) -> tuple[Model, Change]:
    after = model.clone()
    return after, Factorize(**fields).apply(after, Context())


def vectors(node: str, **arrays: np.ndarray) -> Model:
    """A net of one node from x [N, 12], with dynamic N."""
    return parsed(f"net (float[N,{A}] x) => (float[N,{B}] y) {{ {node} }}", **arrays)


LAYERS = {
    "matmul": (vectors, "y = MatMul(x, w)", {"w": (A, B)}),
    "gemm": (vectors, "y = Gemm(x, w, b)", {"w": (A, B), "b": (B,)}),
    "scaled gemm": (vectors, "y = Gemm<alpha = 0.5, beta = 3.0, transB = 1>(x, w, b)", {"w": (B, A), "b": (1, B)}),
    "gemm of columns": (
        lambda node, **arrays: parsed(f"net (float[{A},5] x) => (float[5,{B}] y) {{ {node} }}", **arrays),
        "y = Gemm<transA = 1>(x, w)",
        {"w": (A, B)},
    ),
    "weights on the left": (
        lambda node, **arrays: parsed(f"net (float[N,{A},5] x) => (float[N,{B},5] y) {{ {node} }}", **arrays),
        "y = MatMul(w, x)",
        {"w": (B, A)},
    ),
    "gemm with weights on the left": (
        lambda node, **arrays: parsed(f"net (float[{A},5] x) => (float[{B},5] y) {{ {node} }}", **arrays),
        "y = Gemm(w, x, b)",
        {"w": (B, A), "b": (B, 1)},
    ),
    "gemm with turned weights on the left": (
        lambda node, **arrays: parsed(f"net (float[5,{A}] x) => (float[{B},5] y) {{ {node} }}", **arrays),
        "y = Gemm<transA = 1, transB = 1>(w, x)",
        {"w": (A, B)},
    ),
    "one vector": (
        lambda node, **arrays: parsed(f"net (float[{A}] x) => (float[{B}] y) {{ {node} }}", **arrays),
        "y = MatMul(x, w)",
        {"w": (A, B)},
    ),
    "convolution": (
        lambda node, **arrays: parsed(f"net (float[N,{A},H,5] x) => (float[N,{B},P,Q] y) {{ {node} }}", **arrays),
        "y = Conv<strides = [2, 1], pads = [1, 0, 1, 2], dilations = [3, 3]>(x, w, b)",
        {"w": (B, A, 1, 1), "b": (B,)},
    ),
    "convolution that pads itself": (
        lambda node, **arrays: parsed(f"net (float[N,{A},9] x) => (float[N,{B},P] y) {{ {node} }}", **arrays),
        'y = Conv<auto_pad = "SAME_UPPER", strides = [2], kernel_shape = [1]>(x, w)',
        {"w": (B, A, 1)},
    ),
}


@pytest.fixture(params=LAYERS)
def layer(request) -> Model:
    make, node, shapes = LAYERS[request.param]
    return make(node, **{name: random(*shape, seed=i) for i, (name, shape) in enumerate(shapes.items())})


def with_weights(model: Model, change) -> Model:
    """Another model whose matrices, the initializers called w, are what `change` makes of them."""
    other = model.clone()
    w = other.initializers()["w"].values
    other.set_arrays({"w": change(w.reshape(w.shape[:2])).reshape(w.shape)})
    return other


def test_two_layers_compute_what_the_nearest_matrix_of_their_rank_does(layer):
    after, change = factorized(layer, rank=0.5)
    assert change.changed and len(ops(after)) == 2
    assert_same(with_weights(layer, lambda w: nearest(w, 4)), after)


def test_all_of_the_rank_changes_nothing(layer):
    after, change = factorized(layer, rank=1.0)
    assert not change.changed and change.notes[1:] == (
        f"{layer.graph.nodes[0].name}: left as before, since two would cost no fewer MACs than one",
    )
    assert after.to_bytes() == layer.to_bytes()


def test_all_of_the_energy_takes_only_what_is_of_low_rank_and_changes_no_output(layer):
    assert not factorized(layer, energy=1.0)[1].changed
    low = with_weights(layer, lambda w: low_rank(*w.shape, 3))
    after, change = factorized(low, energy=1.0)
    assert change == Change(True, ("1 of 1 dense layers became two, which keep 100.0% of their energy or more",))
    assert 3 in {d for t in after.initializers().values() for d in t.shape}
    assert_same(low, after)


def test_a_layer_of_zeros_stays_one(layer):
    zeros = with_weights(layer, np.zeros_like)
    assert_same(zeros, factorized(zeros, energy=0.5)[0])


def test_the_first_of_two_layers_is_new_and_the_second_keeps_names_and_bias():
    model = vectors("y = Gemm(x, w, b)", w=random(A, B), b=random(B))
    after, _ = factorized(model, rank=0.5)
    name = model.graph.nodes[0].name
    first, second = after.graph.nodes
    assert [first.name, second.name] == [f"{name}_low_rank", name]
    assert [t.name for t in first.inputs] == ["x", "w_first", f"{name}_low_rank_bias"]
    assert [t.name for t in second.inputs] == ["y_low_rank", "w_second", "b"]
    assert second.inputs[0].shape == ["N", 4]


def test_the_singular_values_are_shared_out_evenly():
    after, _ = factorized(vectors("y = MatMul(x, w)", w=random(A, B)), rank=0.5)
    first, second = (after.initializers()[name].values for name in ("w_first", "w_second"))
    np.testing.assert_allclose(first.T @ first, second @ second.T, atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 20),
    columns=st.integers(1, 20),
    share=st.floats(0.01, 1),
    by=st.sampled_from(["rank", "energy"]),
)
def test_no_layer_gets_dearer_nor_loses_more_than_asked(rows, columns, share, by):
    model = parsed(f"net (float[1,{rows}] x) => (float[1,{columns}] y) {{ y = MatMul(x, w) }}", w=random(rows, columns))
    after, change = factorized(model, **{by: share})
    assert model_cost(after).macs <= model_cost(model).macs - change.changed
    if change.changed:
        w, (first, second) = model.initializers()["w"].values, [t.values for t in after.initializers().values()]
        error = np.square(w - first @ second).sum() / np.square(w).sum()
        assert len(second) >= share * min(w.shape) - 1e-6 if by == "rank" else error <= 1 - share + 1e-5


def test_a_share_of_the_rank_is_rounded_up_to_whole_numbers_only():
    model = parsed("net (float[1,100] x) => (float[1,900] y) { y = MatMul(x, w) }", w=random(100, 900))
    for share, rank in ((0.07, 7), (0.069, 7), (0.071, 8), (0.001, 1)):
        assert factorized(model, rank=share)[0].initializers()["w_first"].shape == (100, rank)


def test_weights_that_are_an_output_stay():
    model = parsed(f"net (float[N,{A}] x) => (float[N,{B}] y, float[{A},{B}] w) {{ y = MatMul(x, w) }}", w=random(A, B))
    after, change = factorized(model, rank=0.25)
    assert not change.changed and after.to_bytes() == model.to_bytes()


def test_a_second_run_goes_on_but_for_all_of_the_energy():
    model = vectors("y = MatMul(x, w)", w=low_rank(A, B, 4))
    wide = parsed("net (float[1,40] x) => (float[1,40] y) { y = MatMul(x, w) }", w=random(40, 40))
    for fields in ({"rank": 0.4}, {"energy": 0.6}):
        once, _ = factorized(wide, **fields)
        assert factorized(once, **fields)[1].changed
    once, _ = factorized(model, energy=1.0)
    assert not factorized(once, energy=1.0)[1].changed


def test_layers_are_called_by_name_and_others_stay():
    body = "h = MatMul(x, w) r = Relu(h) y = MatMul(r, v)"
    model = parsed(f"net (float[N,{A}] x) => (float[N,{A}] y) {{ {body} }}", w=random(A, B), v=random(B, A))
    first, _, last = (node.name for node in model.graph.nodes)
    after, _ = factorized(model, ranks=((last, 0.25),))
    assert ops(after) == ["MatMul", "Relu", "MatMul", "MatMul"]
    after, _ = factorized(model, rank=0.25, ranks=((last, 1.0),))
    assert ops(after) == ["MatMul", "MatMul", "Relu", "MatMul"]
    with pytest.raises(UsageError, match=f"no dense layer is called wrong; there are {first}, {last}"):
        factorized(model, ranks=(("wrong", 0.5),))
    with pytest.raises(UsageError, match="no dense layer is called w; there are none"):
        factorized(parsed("net (float[1] x) => (float[1] y) { y = Relu(x) }"), ranks=(("w", 0.5),))


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"rank": 0.0}, r"rank is 0.0; it must be in \(0, 1\]"),
        ({"energy": 1.5}, r"energy is 1.5; it must be in \(0, 1\]"),
        ({"ranks": (("a", -1.0),)}, r"the rank of a is -1.0; it must be in \(0, 1\]"),
        ({"rank": 0.5, "energy": 0.5}, "give one of them"),
    ],
)
def test_fields_out_of_range_are_refused(fields, text):
    with pytest.raises(UsageError, match=text):
        Factorize(**fields)


def test_without_a_field_there_is_nothing_to_do():
    with pytest.raises(UsageError, match="needs one of the fields rank, energy and ranks"):
        factorized(vectors("y = MatMul(x, w)", w=random(A, B)))


def test_a_search_may_choose_the_rank_of_every_layer_that_two_may_replace():
    body = "h = MatMul(x, w) y = MatMul(h, v)"
    model = parsed(f"net (float[N,{A}] x) => (float[N,1] y) {{ {body} }}", w=random(A, B), v=random(B, 1))
    (parameter,) = Factorize().space(model, Context()).parameters
    assert parameter.name == f"rank:{model.graph.nodes[0].name}"
    assert (parameter.low, parameter.high, parameter.default) == (LOWEST_RANK, 1.0, 1.0)
    assert not Factorize(rank=0.5).space(model, Context()).parameters, "there is nothing left to choose"
    for share, count in ((0.25, 3), (1.0, 2)):
        chosen = Factorize().with_parameters({parameter.name: share})
        assert len(ops(run_passes((chosen,), model, Context())[0])) == count


@pytest.mark.parametrize(
    ("body", "arrays", "reason"),
    [
        ("h = MatMul(x, w) k = MatMul(x, w) y = Add(h, k)", {"w": random(A, B)}, "read elsewhere"),
        ("t = Transpose(w) h = MatMul(x, t) k = MatMul(x, t) y = Add(h, k)", {"w": random(B, A)}, "read elsewhere"),
        ("y = MatMul(x, w)", {"w": np.full((A, B), np.inf, np.float32)}, "NaN or infinite"),
        (
            "w = DequantizeLinear(q, s) y = MatMul(x, w)",
            {"q": np.ones((A, B), np.int8), "s": np.float32(0.1)},
            "integers",
        ),
    ],
)
def test_weights_that_factors_would_not_suit_stay_with_a_reason(body, arrays, reason):
    model = vectors(body, **arrays)
    after, change = factorized(model, rank=0.25)
    assert not change.changed and after.to_bytes() == model.to_bytes()
    assert reason in change.notes[1]


@pytest.mark.parametrize(
    "body",
    [
        "y = Conv<group = 2>(x, w)",
        "y = Conv(x, k)",
        "h = Transpose(x) y = MatMul(x, h)",
        "y = com.microsoft.FusedMatMul(x, v)",
        "y = MatMul(x, stack)",
    ],
)
def test_other_nodes_are_no_dense_layers(body):
    arrays = {"w": random(8, 4, 1, 1), "k": random(8, 8, 3, 1), "v": random(8, 8), "stack": random(2, 8, 8)}
    given = {name: array for name, array in arrays.items() if f" {name})" in body}
    shape = "2,8,8,8" if "Conv" in body else "8,8"
    header = '<ir_version: 8, opset_import: ["" : 13, "com.microsoft" : 1]>'
    proto = onnx.parser.parse_model(f"{header} net (float[{shape}] x) => (float[A,B] y) {{ {body} }}")
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(v, k) for k, v in given.items())
    assert factorized(Model.from_proto(proto), rank=0.1)[1] == Change(False, ("0 of 0 dense layers became two",))


@pytest.mark.parametrize("path", ["Transpose", "Identity", "Cast<to = 1>"])
def test_what_made_the_weights_goes_with_them(path):
    w = random(B, A) if path == "Transpose" else random(A, B)
    kind = np.float16 if "Cast" in path else np.float32
    model = vectors(f"t = {path}(w) y = MatMul(x, t)", w=w.astype(kind))
    after, _ = factorized(model, rank=0.5)
    assert ops(after) == ["MatMul", "MatMul"]
    assert "w" not in after.initializers()
    matrix = w.astype(kind).astype(np.float32)
    assert_same(vectors("y = MatMul(x, w)", w=nearest(matrix.T if path == "Transpose" else matrix, 4)), after)


def macs(model: Model) -> int:
    """Of a run on the inputs that `feeds` gives."""
    return model_cost(fix_sizes(model, None, {name: x.shape for name, x in feeds(model).items()})).macs


def low_rank_net(name: str, seed: int) -> Model:
    """A member of a structure family whose matrices and 1x1 kernels are of rank 1, so that two layers lose nothing."""
    model = build(name, seed)
    constants = {
        id(t): t for g in every_graph(model.graph) for n in g.nodes for t in n.inputs if isinstance(t, gs.Constant)
    }
    for tensor in constants.values():
        values = np.asarray(tensor.values)
        if values.dtype.kind == "f" and values.ndim >= 2 and set(values.shape[2:]) <= {1} and values.size:
            tensor.values = nearest(values.reshape(values.shape[:2]), 1).reshape(values.shape)
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_every_structure_of_low_rank_stays_equal_and_gets_no_dearer(family):
    for seed in (2, 4):
        model = low_rank_net(family, seed)
        after, change = factorized(model, energy=1.0)
        assert_valid(after)
        assert macs(after) <= macs(model)
        half = any("float16" in t.dtype for t in model.inputs())
        tolerance = 3e-2 if half else 2e-4
        for expected, got in zip(run(model, feeds(model)), run(after, feeds(model)), strict=True):
            np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
        assert change.changed or after.to_bytes() == model.to_bytes()


@pytest.mark.parametrize("family", FAMILIES)
def test_no_structure_gets_dearer_or_changes_its_interface(family):
    model = build(family, 4)
    after, _ = factorized(model, rank=0.3)
    assert_valid(after)
    assert (after.inputs(), after.outputs()) == (model.inputs(), model.outputs())
    assert macs(after) <= macs(model)
    run(after, feeds(model))


def test_the_structures_hold_layers_enough_to_say_something():
    assert sum(factorized(build(family, 4), rank=0.3)[1].changed for family in FAMILIES) > len(FAMILIES) / 2


@pytest.mark.parametrize("opset", [7, 10, 13, 21])
def test_layers_in_bodies_and_of_every_opset_become_two(opset):
    net = Net(0, opset)
    x = net.input("N", A)
    body = lambda: net.body(lambda: (net.op("Gemm", x, net.w(A, B), net.w(B)),))  # noqa: E731
    go = net.const(True, bool)
    y = net.op("If", go, then_branch=body(), else_branch=body())
    model = net.model((y,))
    after, change = factorized(model, rank=0.25)
    assert change.notes[0].startswith("2 of 2 ")
    assert [len(g.nodes) for g in every_graph(after.graph)] == [1, 2, 2]
    assert_valid(after)
    again, _ = factorized(Model.from_proto(after.to_proto()), energy=1.0)
    for expected, got in zip(run(after, feeds(model)), run(again, feeds(model)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", REAL)
def test_real_models_compute_what_they_do_by_the_nearest_weights_of_that_rank(name):
    model, _ = run_passes((Simplify(),), load(shared_model(name)), Context())
    after, _ = run_passes((Factorize(rank=0.25),), model, Context())
    ranks = {n.name: min(n.inputs[1].shape[:2]) for n in after.nodes() if n.op in ("Conv", "Gemm")}
    expected, first = model.clone(), {n.name for n in after.nodes()} - {n.name for n in model.nodes()}
    for node in expected.nodes():
        if f"{node.name}_low_rank" in first:
            w = node.inputs[1].values
            assert ranks[node.name] == -(-min(w.shape[:2]) // 4)
            node.inputs[1].values = nearest(w.reshape(w.shape[:2]), ranks[node.name]).reshape(w.shape)
    assert first or "resnet" in name or name.startswith("mltk_image"), (
        "only these have no layer of 1x1 or dense worth it"
    )
    assert model_cost(after).macs <= model_cost(model).macs
    assert_same(expected, after, tolerance=1e-3, dynamic=1)


def narrowing_net() -> Model:
    """Two 3x3 convolutions around a 1x1 one with BatchNormalization, a hidden dense layer and a classifier."""
    net = Net(0)
    x = net.relu(net.conv(net.input("N", 3, 16, 16), 3, 16))
    x = net.relu(net.norm(net.conv(x, 16, 32, k=1, bias=False), 32))
    x = net.relu(net.conv(x, 32, 32, strides=[2, 2]))
    x = net.relu(net.dense(net.op("Flatten", net.op("GlobalAveragePool", x)), 32, 24))
    return net.model((net.dense(x, 24, CLASSES),))


def test_compile_trains_the_two_layers_with_the_original_as_teacher(tmp_path, monkeypatch):
    asked = []
    lesson = teaching.lesson
    monkeypatch.setattr(teaching, "lesson", lambda *given: asked.append(given[1:3]) or lesson(*given))
    model = write_model(tmp_path, narrowing_net())
    data = write_data(tmp_path, narrowing_net())
    with short_runs():
        options = {"passes": "factorize{rank=0.5},prune-channels", "goals": Goals(macs=0.7), "epochs": 1, "data": data}
        folder = compile_job(model, tmp_path / "out", **options).folder
    ((student, teacher),) = asked
    first = {n.name for n in student.nodes() if n.name.endswith("_low_rank")}
    assert len(first) == 3 and not first & {n.name for n in teacher.nodes()}
    assert first <= {n.name for n in load(folder / "model.onnx").nodes()}
    report = json.loads((folder / "report.json").read_text())
    assert len(report["training"]) == 1
    assert "factorize{rank=0.5}" in report["passes"]


def test_two_layers_have_a_place_for_all_that_training_learns():
    model = run_passes((Simplify(), FoldBatchNorm(), Factorize(rank=0.5)), narrowing_net(), Context())[0]
    restored, _ = run_passes((RestoreBatchNorm(),), model, context(model))
    learnt = {n: t.values + np.float32(0.3) for n, t in restored.initializers().items() if n.endswith(".bn.bias")}
    assert sum("_low_rank" in name for name in learnt) == 3
    assert len(learnt) == 7, "the classifier's second layer gets no BatchNormalization"
    restored.set_arrays(learnt)
    tuned, folded = model.clone(), run_passes((FoldBatchNorm(),), restored, Context())[0]
    adopt(tuned, folded)
    assert_same(restored, tuned, tolerance=1e-4)
