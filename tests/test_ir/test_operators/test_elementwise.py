"""Operators position by position, against onnx's schemas."""

import onnx
import pytest

from pfir.ir.operators.elementwise import N_ARY, UNARY


@pytest.mark.parametrize("name", UNARY)
def test_an_operator_of_one_tensor_needs_no_other(name):
    schema = onnx.defs.get_schema(name, "")
    assert schema.min_input == 1 and schema.max_output == 1


@pytest.mark.parametrize("name", N_ARY)
def test_an_operator_of_several_tensors_takes_two_or_more(name):
    schema = onnx.defs.get_schema(name, "")
    assert schema.max_input >= 2 and schema.max_output == 1


def test_each_is_in_one_list():
    assert len({*UNARY, *N_ARY}) == len(UNARY) + len(N_ARY)
