"""Kernels for 32-bit ARM multiply in NEON registers and call no floating-point routine."""

from __future__ import annotations

import re

from benchmarks.kernels.armv7 import FLOAT_ROUTINE, VECTOR_MULTIPLY, functions
from benchmarks.kernels.instructions import assembly, two_convolutions
from pfir.backends.tvm.lowering.lower import written
from pfir.target import parse_target
from tests.test_backends.bundle import sized, under_construction


def test_object_code_for_armv7_is_neon_with_hard_floats():
    code = functions(assembly(written(two_convolutions(16), parse_target("armv7"))))
    products = [body for name, body in code.items() if name.startswith(("winograd", "product"))]
    assert len(products) == 2
    assert all(len(VECTOR_MULTIPLY.findall(body)) >= 16 for body in products)
    assert [found for body in code.values() for found in FLOAT_ROUTINE.findall(body)] == []


def _code_of(op: str) -> str:
    bundle = under_construction()
    bundle.output("y", bundle.op(op, bundle.input(1, 16)))
    return next(iter(functions(assembly(written(sized(bundle), parse_target("armv7")))).values()))


def test_exponentials_call_no_library():
    assert re.findall(r"\bbl\s+\w+", _code_of("Sigmoid")) == []


def test_the_c_library_gets_floats_in_registers_for_floats():
    code = _code_of("Floor")
    assert "bl\tfloorf" in code and not re.search(r"vmov\s+s\d+, r", code)


def test_a_call_of_a_floating_point_routine_is_seen():
    assert FLOAT_ROUTINE.findall("\tbl\t__aeabi_fmul\n\tbl\tmemset\n\tbl\tfmaf\n") == ["__aeabi_fmul", "fmaf"]
