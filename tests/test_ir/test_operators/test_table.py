"""The records of operators against onnx's own schemas, and against each other."""

import re

import onnx
import pytest

from pfir.frontends.onnx.contrib import _REQUIRED
from pfir.ir.operators.records import MICROSOFT, ONNX, Form, Operator, Weight
from pfir.ir.operators.table import OPERATORS, has_form, operator_named, operator_of
from tests.support.structures import build

STANDARD = [o for o in OPERATORS if ONNX in o.domains]
LETTERS = {
    "input": "i",
    "output": "o",
    "forget": "f",
    "cell": "c",
    "update": "z",
    "reset": "r",
    "hidden": "h",
}
"""What ONNX's text calls the gates."""


def schema_of(operator: Operator):
    return onnx.defs.get_schema(operator.name, 21, "")


def input_names(operator: Operator) -> list[str]:
    return [given.name for given in schema_of(operator).inputs]


def named(operators):
    return pytest.mark.parametrize("operator", operators, ids=lambda o: o.name)


def test_each_operator_has_one_record():
    keys = [(domain, o.name) for o in OPERATORS for domain in o.domains]
    assert len(keys) == len(set(keys))


@named(STANDARD)
def test_weights_and_biases_are_where_the_schema_has_them(operator):
    names = input_names(operator)
    for weight in operator.weights:
        assert names[weight.place] in ("W", "w", "R", "B", "b"), names
    if operator.bias is not None:
        assert names[operator.bias] in ("B", "C"), names
    if operator.weights:
        assert names[operator.data] in ("X", "x", "A", "a"), names


@named(STANDARD)
def test_factors_statistics_and_tables_are_where_the_schema_has_them(operator):
    names = input_names(operator)
    known = ("scale", "bias", "Scale", "B", "slope")
    assert all(names[i] in known for i in operator.factors), names
    assert [names[i] for i in operator.statistics] in ([], ["input_mean", "input_var"])
    assert all(names[i] == "data" for i in operator.tables), names


@named([o for o in STANDARD if o.integers or o.result])
def test_scales_and_zero_points_are_called_after_what_they_explain(operator):
    names = input_names(operator)
    explained = [(names[i], said) for i, said in operator.integers.items()]
    if operator.result is not None:
        explained.append((schema_of(operator).outputs[0].name, operator.result))
    for name, said in explained:
        assert names[said.zero_point] == f"{name.lower()}_zero_point"
        assert said.scale is None or names[said.scale] == f"{name.lower()}_scale"


@named([o for o in STANDARD if o.integers])
def test_every_input_that_has_a_zero_point_is_said_to_hold_integers(operator):
    names = input_names(operator)
    with_point = {i for i, name in enumerate(names) if f"{name.lower()}_zero_point" in names}
    assert with_point == set(operator.integers)


@named(STANDARD)
def test_attributes_are_those_of_the_schema(operator):
    attributes = schema_of(operator).attributes
    asked = [operator.scaled_by, operator.bias_scaled_by, *(w.turned_by for w in operator.weights)]
    assert all(name in attributes for name in asked if name)
    assert ("group" in attributes) == (operator.form in (Form.CONVOLUTION, Form.TRANSPOSED_CONVOLUTION))


@named([o for o in STANDARD if o.cell is not None])
def test_gates_are_in_the_order_that_onnx_describes(operator):
    letters = "".join(LETTERS[gate.name] for gate in operator.cell.gates)
    text = schema_of(operator).inputs[operator.weight.place].description
    assert f"W[{letters}]" in text or (len(letters) == 1 and "`Wi`" in text)
    assert [input_names(operator)[i] for i in operator.cell.states] == ["initial_h", "initial_c"][
        : len(operator.cell.states)
    ]
    assert input_names(operator)[operator.cell.lengths] == "sequence_lens"


def test_peepholes_are_in_the_order_that_onnx_describes():
    cell, schema = operator_named("LSTM").cell, schema_of(operator_named("LSTM"))
    order = sorted((g for g in cell.gates if g.peephole is not None), key=lambda gate: gate.peephole)
    assert [gate.peephole for gate in order] == list(range(len(order)))
    (letters,) = re.findall(r"P\[(\w+)\]", schema.inputs[cell.peepholes].description)[:1]
    assert "".join(LETTERS[gate.name] for gate in order) == letters


@named([o for o in STANDARD if o.cell is not None])
def test_functions_are_as_many_as_onnx_takes(operator):
    text = schema_of(operator).attributes["activations"].description
    spelled = {"three": 3, "3": 3, "two": 2, "2": 2, "one": 1}
    found = re.search(r"A list of (\w+)", text)
    wanted = spelled.get(found.group(1)) if found else None
    assert wanted is None or wanted == len(operator.cell.functions)
    assert max(gate.function for gate in operator.cell.gates) < len(operator.cell.functions)


@named([o for o in OPERATORS if MICROSOFT in o.domains and o.name in _REQUIRED])
def test_what_onnx_runtime_cannot_do_without_is_known_to_be_there(operator):
    """The weight, and the scales of what it reads, are none of the inputs that may be left out."""
    required = _REQUIRED[operator.name]
    assert all(weight.place in required for weight in operator.weights)
    scales = [said.scale for said in operator.integers.values() if said.scale is not None]
    assert all(place in required for place in scales)


@named([o for o in OPERATORS if o.weights])
def test_the_two_axes_of_a_weight_differ(operator):
    assert all(w.outputs != w.inputs for w in operator.weights)


def test_a_node_is_known_by_its_domain_too():
    model = build("quantized_residual", 0)
    found = {node.op: operator_of(node) for node in model.nodes()}
    assert found["QGemm"] is operator_named("QGemm", MICROSOFT) and operator_named("QGemm") is None
    assert found["QGemm"].weight == Weight(3, 1, 0, turned_by="transB")
    assert all(has_form(node, Form.CONVOLUTION) == (node.op in ("Conv", "QLinearConv")) for node in model.nodes())


def test_kernels_are_both_factors_or_the_tables():
    assert operator_named("Conv").kernels == (0, 1) and operator_named("LSTM").kernels == (0, 1, 2)
    assert operator_named("QLinearConv").kernels == (0, 3) and operator_named("Gather").kernels == (0,)
    assert operator_named("BatchNormalization").kernels == ()


def test_parameters_are_what_training_fits():
    assert operator_named("Gemm").parameters == (0, 1, 2) and operator_named("Conv").parameters == (1, 2)
    assert operator_named("LSTM").parameters == (1, 2, 3) and operator_named("PRelu").parameters == (1,)
