"""Softmax, norms, reductions of rows, products of computed tensors and element-wise chains, whatever the sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from pfir.artifact import SLOW_KERNELS
from pfir.backends.tvm import TvmBackend
from pfir.backends.tvm.kernels.affine import MergedAxes, runs_of
from pfir.backends.tvm.kernels.products.matmul import fitted
from pfir.backends.tvm.lowering.form import Form, KernelSpec, plain
from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.target import parse_target
from tests.support.net import Net
from tests.test_backends import devices
from tests.test_backends.bundle import error, feeds, reference, sized, under_construction

_CLOSE = 3e-6


def _scaled(op, shape, scale=5.0, **attributes):
    return lambda b: b.op(op, b.op("Mul", b.input(*shape), b.const(np.float32(scale))), **attributes)


def _reduce(op, *shape, axes):
    return lambda b: b.op("Relu", b.op(op, b.input(*shape), axes=list(axes), keepdims=1))


def _reduce_sum(*shape, axes):
    return lambda b: b.op("Sigmoid", b.op("ReduceSum", b.input(*shape), b.ints(*axes), keepdims=1))


def _layer_norm(*shape, axis):
    return lambda b: b.op("LayerNormalization", b.input(*shape), b.w(*shape[axis:]), b.w(*shape[axis:]), axis=axis)


def _instance_norm(*shape):
    return lambda b: b.op("InstanceNormalization", b.input(*shape), b.w(shape[1]), b.w(shape[1]))


def _product(left, right, *, keys=False, after=()):
    """With `keys` the right side is turned first, as an attention's keys are."""

    def build(b: Net) -> str:
        y = b.input(*(right[:-2] + right[:-3:-1] if keys else right))
        order = [*range(len(right) - 2), len(right) - 1, len(right) - 2]
        x = b.op("MatMul", b.input(*left), b.op("Transpose", y, perm=order) if keys else y)
        for op in after:
            x = b.op(op, x)
        return x

    return build


def _attention(b: Net) -> str:
    """Heads that lie between positions and depth."""
    query, key, value = (b.op("Reshape", b.input(1, 11, 12), b.ints(1, 11, 2, 6)) for _ in range(3))
    query, value = (b.op("Transpose", x, perm=[0, 2, 1, 3]) for x in (query, value))
    scores = b.op("MatMul", query, b.op("Transpose", key, perm=[0, 2, 3, 1]))
    mixed = b.op("MatMul", b.op("Softmax", scores, axis=-1), value)
    return b.op("Reshape", b.op("Transpose", mixed, perm=[0, 2, 1, 3]), b.ints(1, 11, 12))


def _slice(shape, starts, ends, axes, steps):
    bounds = (starts, ends, axes, steps)
    return lambda b: b.op("Relu", b.op("Slice", b.input(*shape), *(b.ints(*v) for v in bounds)))


def _broadcast(*shapes):
    def build(b: Net) -> str:
        x = b.input(*shapes[0])
        for shape in shapes[1:]:
            x = b.op("Mul", b.op("Add", x, b.input(*shape)), b.w(*shape))
        return x

    return build


def _expand(shape, *sizes):
    return lambda b: b.op("Expand", b.input(*shape), b.ints(*sizes))


def _reordered_operand(b: Net) -> str:
    """A sum of what lies channels last and what lies channels first."""
    x = b.input(1, 13, 5, 5)
    return b.op("Add", b.op("Conv", x, b.w(13, 13, 3, 3), pads=[1, 1, 1, 1]), x)


CASES = {
    **{f"softmax of {n}": _scaled("Softmax", (3, n)) for n in (1, 3, 16, 63, 100)},
    "softmax of saturated values": _scaled("Softmax", (3, 40), 60.0),
    "softmax over an inner axis": _scaled("Softmax", (2, 9, 5), axis=1),
    "softmax over the first axis": _scaled("Softmax", (9, 5, 4), axis=0),
    "mean of rows": _reduce("ReduceMean", 3, 5, 37, axes=[-1]),
    "mean of two axes": _reduce("ReduceMean", 3, 5, 7, axes=[1, 2]),
    "maximum of rows": _reduce("ReduceMax", 2, 5, 67, axes=[2]),
    "minimum of rows": _reduce("ReduceMin", 2, 5, 3, axes=[2]),
    "sum of rows": _reduce_sum(7, 129, axes=[1]),
    "sum of everything": _reduce_sum(3, 5, 7, axes=[0, 1, 2]),
    "global average": lambda b: b.op("Sigmoid", b.op("GlobalAveragePool", b.input(2, 5, 7, 9))),
    "global maximum": lambda b: b.op("GlobalMaxPool", b.input(2, 5, 3, 3)),
    "layer norm": _layer_norm(3, 37, axis=-1),
    "layer norm of two axes": _layer_norm(2, 3, 5, 7, axis=2),
    "instance norm": _instance_norm(2, 5, 7, 9),
    "instance norm of sequences": _instance_norm(2, 3, 70),
    "product": _product((17, 5), (5, 23)),
    "product of large tiles": _product((2, 37, 19), (2, 19, 130)),
    "product with one matrix": _product((3, 2, 6, 7), (7, 33)),
    "product of broadcast batches": _product((3, 1, 6, 7), (2, 7, 5)),
    "product with a column": _product((2, 9, 7), (2, 7, 1)),
    "product of a row": _product((2, 1, 7), (2, 7, 18)),
    "outer product": _product((6, 1), (1, 7)),
    "product with keys": _product((2, 9, 13), (2, 13, 11), keys=True),
    "product and what follows": _product((2, 9, 13), (2, 13, 11), after=("Sigmoid", "Relu")),
    "attention": _attention,
    "slice": _slice((3, 11, 6), [1, 2], [3, 10], [0, 1], [1, 3]),
    "slice backwards": _slice((3, 11, 6), [-1], [-100], [2], [-1]),
    "chain of one long stretch": _broadcast((2, 37, 131), (2, 37, 131)),
    "chain shared by threads": _broadcast((2, 64, 128), (1,)),
    "chain along channels": _broadcast((2, 5, 6, 7), (5, 1, 1), (1, 5, 1, 1)),
    "chain along every axis": _broadcast((1, 5, 6, 7), (2, 1, 1, 1), (6, 1), (7,)),
    "expand": _expand((3, 1, 5), 2, 3, 4, 5),
    "chain of two memory orders": _reordered_operand,
}


_SHARED = ("softmax of 63", "mean of rows", "instance norm", "product of large tiles", "chain shared by threads")


def _answers(threads: int, names: Sequence[str]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    bundle = under_construction()
    for i, name in enumerate(names):
        bundle.output(f"case{i}", CASES[name](bundle))
    model, target = sized(bundle), replace(parse_target("host"), threads=threads)
    artifact, values = TvmBackend().build(model, target), feeds(model.inputs())
    assert SLOW_KERNELS not in artifact.notes
    ours, theirs = devices.host(threads).run(artifact, values), reference(model, values)
    return {name: (ours[f"case{i}"], theirs[f"case{i}"]) for i, name in enumerate(names)}


@pytest.fixture(scope="module")
def results():
    return _answers(1, tuple(CASES))


@pytest.fixture(scope="module")
def shared_results():
    return _answers(2, _SHARED)


@pytest.mark.parametrize("name", CASES)
def test_the_library_computes_what_onnx_runtime_computes(results, name):
    assert error(*results[name]) < _CLOSE


@pytest.mark.parametrize("name", _SHARED)
def test_threads_that_share_the_work_compute_the_same(shared_results, name):
    assert error(*shared_results[name]) < _CLOSE


def test_softmax_and_norm_are_close_to_the_exact_values_where_those_are_hard_to_reach():
    """Rows far from zero, whose variance cancels when it is taken as the mean square less the squared mean."""
    bundle = under_construction()
    x = bundle.op("Add", bundle.input(3, 100), bundle.const(np.float32(100)))
    bundle.output(
        "norm",
        bundle.op(
            "LayerNormalization",
            x,
            bundle.const(np.ones(100, np.float32)),
            bundle.const(np.zeros(100, np.float32)),
            axis=-1,
        ),
    )
    bundle.output("softmax", bundle.op("Softmax", x, axis=-1))
    model = sized(bundle)
    values = feeds(model.inputs())
    ours = devices.host().run(TvmBackend().build(model, parse_target("host")), values)
    exact = (next(iter(values.values())) + np.float32(100)).astype(np.float64)
    centred, powers = exact - exact.mean(1, keepdims=True), np.exp(exact - exact.max(1, keepdims=True))
    normal = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-5)
    assert np.abs(ours["norm"] - normal).max() < 2e-5  # mean and values are multiples of 2^-17 here
    assert (np.abs(ours["softmax"] / (powers / powers.sum(1, keepdims=True)) - 1)).max() < 1e-6


@pytest.mark.parametrize("axis", (0, 1, 2))
def test_an_old_softmax_takes_everything_from_its_axis_on_as_one_row(axis):
    bundle = under_construction(opset=11)
    bundle.output("y", bundle.op("Softmax", bundle.input(2, 5, 3), axis=axis))
    model = sized(bundle)
    values = feeds(model.inputs())
    ours = devices.host().run(TvmBackend().build(model, parse_target("host")), values)
    assert error(ours["y"], reference(model, values)["y"]) < _CLOSE


def _steps(out, *operands):
    return KernelSpec("affine", (("kind", "steps"),), operands, 0, (), out)


def test_axes_over_which_every_operand_moves_evenly_are_one_run():
    image = plain((2, 5, 6, 7))
    assert runs_of(_steps(image, image)) == [MergedAxes(420, 1, (1,))]
    assert runs_of(_steps(image, image, plain((5, 1, 1)))) == [
        MergedAxes(2, 210, (210, 0)),
        MergedAxes(5, 42, (42, 1)),
        MergedAxes(42, 1, (1, 0)),
    ]
    last = Form((2, 5, 6, 7), (0, 2, 3, 1))
    assert runs_of(_steps(last, last, plain((5, 1, 1)))) == [MergedAxes(84, 5, (5, 0)), MergedAxes(5, 1, (1, 1))]
    assert runs_of(_steps(plain((1, 1)), plain((1,)))) == [MergedAxes(1, 1, (0,))]


def test_a_tile_of_a_small_product_is_no_larger_than_that():
    assert fitted(MatrixTile(16, 3, 8, 4), 5, 13) == MatrixTile(8, 1, 5, 4)
    assert fitted(MatrixTile(16, 3, 8, 4), 9, 40) == MatrixTile(16, 2, 5, 4)


def test_norms_that_hand_out_their_statistics_are_left_to_the_importer():
    bundle = under_construction()
    y, *_ = bundle.op("LayerNormalization", bundle.input(3, 8), bundle.w(8), bundle.w(8), outs=2)
    bundle.output("y", y)
    assert written(sized(bundle), parse_target("host")).slow
