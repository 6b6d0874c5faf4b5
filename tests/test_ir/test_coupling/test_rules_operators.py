"""Every operator's rule on ONNX's own examples: channels fed in along any axis may go where the rule says so."""

from __future__ import annotations

import string
import warnings

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pfir.ir.coupling.channels import channel_groups, remove_channels
from pfir.ir.coupling.rules.table import ONNX
from pfir.ir.model import Model
from tests.support.masking import mask, removal
from tests.support.runs import assert_valid, run

LARGEST = 64
CASES_AN_OPERATOR = 2
# Integers and booleans, kernels that ONNX Runtime 1.19.2 lacks, and what strict inference refuses at opset 13.
UNTRIED = {
    *("And", "BitShift", "Equal", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Not", "Or", "Xor"),
    *("Dropout", "MeanVarianceNormalization", "Mish", "Mod", "RMSNormalization", "Scatter", "Swish"),
    "Upsample",
}
# No example of these has a float input with an axis to feed, or there is none; `tests/support/structures` has them.
WITHOUT = {
    *("Cast", "CastLike", "ConstantOfShape", "ConvInteger", "CumSum", "DequantizeLinear", "Einsum", "GlobalLpPool"),
    *("MatMulInteger", "MaxRoiPool", "QLinearConv", "QLinearMatMul", "ReduceLogSumExp", "Trilu"),
}
# ONNX Runtime crashes on some tensors without elements, and reads what nobody wrote in the other one.
UNRELIABLE = ("empty", "reversesequence_batch")


def _cases() -> dict[str, tuple]:
    """By name: one-node examples with float inputs, a few for each operator in the table."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    taken: dict[str, int] = {}
    chosen = {}
    for case in found:
        operator = None if any(word in case.name for word in UNRELIABLE) else _usable(case)
        if operator and taken.setdefault(operator, 0) < CASES_AN_OPERATOR:
            taken[operator] += 1
            chosen[case.name] = (case.model, *case.data_sets[0])
    return chosen


def _usable(case) -> str | None:
    if case.model is None or len(case.model.graph.node) != 1 or not case.data_sets:
        return None
    operator = case.model.graph.node[0].op_type
    arrays = [a for side in case.data_sets[0] for a in side]
    plain = all(isinstance(a, (np.ndarray, np.generic)) for a in arrays)
    known = operator in ONNX and operator not in UNTRIED and case.model.graph.node[0].domain == ""
    return operator if plain and known and _axes(case.data_sets[0][0]) else None


def _axes(inputs) -> list[tuple[int, int]]:
    """(input, axis) along which channels can be fed in."""
    arrays = [np.asarray(a) for a in inputs]
    floats = [(i, a) for i, a in enumerate(arrays) if a.dtype == np.float32]
    return [(i, axis) for i, a in floats for axis, n in enumerate(a.shape) if 1 < n <= LARGEST]


def _mixed(name: str, array: np.ndarray, axis: int, width: int, result: str, rng) -> tuple:
    """An Einsum that mixes one axis into `width` positions, and its weights."""
    letters = string.ascii_lowercase[: array.ndim]
    weights = rng.standard_normal((array.shape[axis], width)).astype(np.float32)
    if width == array.shape[axis]:
        weights = (np.eye(width) + 0.1 * weights).astype(np.float32)
    equation = f"{letters},{letters[axis]}z->{letters.replace(letters[axis], 'z')}"
    node = helper.make_node("Einsum", [name, f"{result}_w"], [result], name=result, equation=equation)
    return node, numpy_helper.from_array(weights, f"{result}_w")


def _surrounded(example, inputs, outputs, which: int, axis: int) -> tuple[Model, dict[str, np.ndarray]]:
    """The example behind a layer that makes channels along one axis, before layers that read every axis."""
    rng = np.random.default_rng(0)
    graph, names = onnx.GraphProto(name="net"), [v.name for v in example.graph.input]
    arrays = [np.asarray(a) for a in inputs]
    node, weights = _mixed("given", arrays[which], axis, arrays[which].shape[axis], names[which], rng)
    graph.node.extend([node, example.graph.node[0]])
    graph.initializer.append(weights)
    others = [(n, a) for n, a in zip(names, arrays, strict=True) if n != names[which]]
    graph.initializer.extend(numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in others)
    graph.input.append(helper.make_tensor_value_info("given", TensorProto.FLOAT, arrays[which].shape))
    for value, array in zip(example.graph.output, map(np.asarray, outputs), strict=True):
        _read(graph, value.name, array, rng)
    proto = helper.make_model(graph, ir_version=8)
    del proto.opset_import[:]
    version = min(max(example.opset_import[0].version, 13), 21)
    proto.opset_import.append(helper.make_opsetid("", version))
    return Model.from_proto(proto), {"given": arrays[which]}


def _read(graph: onnx.GraphProto, name: str, array: np.ndarray, rng) -> None:
    current = name
    for axis in range(array.ndim if array.dtype == np.float32 else 0):
        node, weights = _mixed(current, array, axis, 2, f"{name}_read{axis}", rng)
        array = np.moveaxis(np.repeat(np.moveaxis(array, axis, -1)[..., :1], 2, -1), -1, axis)
        graph.node.append(node)
        graph.initializer.append(weights)
        current = node.output[0]
    element = helper.np_dtype_to_tensor_dtype(array.dtype)
    graph.output.append(helper.make_tensor_value_info(current, element, array.shape))


CASES = _cases()


def test_nearly_every_operator_of_the_table_has_an_example():
    tried = {example.graph.node[0].op_type for example, *_ in CASES.values()}
    missing = set(ONNX) - tried - UNTRIED
    assert missing <= WITHOUT


@pytest.mark.parametrize("name", CASES)
def test_channels_that_a_rule_leaves_free_may_go(name):
    example, inputs, outputs = CASES[name]
    settings = 1 if example.graph.node[0].op_type == "Resize" else len(inputs)
    for which, axis in _axes(inputs[:settings]):
        model, feeds = _surrounded(example, inputs, outputs, which, axis)
        coupling = channel_groups(model)
        removed = removal(coupling, 1, 0.9)
        pruned = model.clone()
        remove_channels(pruned, coupling, removed)
        assert_valid(pruned)
        for got, wanted in zip(run(pruned, feeds), run(mask(model, coupling, removed), feeds), strict=True):
            scale = max(1.0, float(np.nanmax(np.abs(wanted), initial=0.0)))
            np.testing.assert_allclose(got, wanted, rtol=2e-3, atol=2e-3 * scale, equal_nan=True)
