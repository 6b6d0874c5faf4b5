"""Copies into another memory order turn blocks in registers, whatever the sizes, and happen once."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import pytest

from benchmarks.kernels.assembly import Loop, innermost_loops
from benchmarks.kernels.instructions import assembly
from pfir.backends.tvm.kernels.transpose import covers, runs_of, transpose
from pfir.backends.tvm.library.build import tvm_target
from pfir.backends.tvm.library.stack import tir_pipeline
from pfir.backends.tvm.lowering.form import Form, KernelSpec, channels_last, plain
from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.schedule.tiles import plain_tile
from pfir.target import parse_target
from tests.support.net import Net
from tests.test_backends.bundle import sized, under_construction

# Shapes with the axes of the source and of the result in memory order.
CASES = [
    ((1, 16, 8, 8), (0, 1, 2, 3), (0, 2, 3, 1)),
    ((2, 13, 5, 7), (0, 1, 2, 3), (0, 2, 3, 1)),
    ((2, 13, 5, 7), (0, 2, 3, 1), (0, 1, 2, 3)),
    ((3, 4, 2, 2), (0, 1, 2, 3), (0, 2, 3, 1)),
    ((1, 37, 1, 50), (0, 2, 3, 1), (0, 1, 2, 3)),
    ((6, 4, 10), (0, 1, 2), (1, 2, 0)),  # an attention's keys: [S, H, D] -> [H, D, S]
    ((5, 3, 17), (0, 1, 2), (2, 1, 0)),
    ((20, 100), (0, 1), (1, 0)),
    ((8, 88), (1, 0), (0, 1)),  # eleven blocks of 8, which no groups divide
    ((88, 8), (1, 0), (0, 1)),
    ((4, 52), (0, 1), (1, 0)),
    ((9, 6, 5, 8), (3, 1, 0, 2), (0, 1, 2, 3)),
]


def _names():
    return [f"{shape} {source}->{result}" for shape, source, result in CASES]


@pytest.fixture(scope="module", params=[("host", 1), ("host", 2), ("x86-64", 1)], ids=str)
def compiled(request):
    """Every case as a function of one module."""
    import tvm

    name, threads = request.param
    if parse_target("host").triple.partition("-")[0] != "x86_64" and name == "x86-64":
        pytest.skip("this machine does not run it")
    target, functions = replace(parse_target(name), threads=threads), {}
    for i, (shape, source, result) in enumerate(CASES):
        forms = Form(shape, source), Form(shape, result)
        kernel = transpose(KernelSpec("transpose", (), forms[:1], 1, (), forms[1]), plain_tile(target))
        functions[f"case_{i}"] = kernel.with_attr("global_symbol", f"case_{i}")
    return tvm.compile(tvm.IRModule(functions), tvm_target(target), tir_pipeline=tir_pipeline())


@pytest.mark.parametrize("case", range(len(CASES)), ids=_names())
def test_the_copy_holds_every_element_in_its_new_place(compiled, case):
    import tvm

    shape, source, result = CASES[case]
    values = np.arange(prod(shape), dtype=np.float32).reshape(shape)
    out = tvm.runtime.tensor(np.full([shape[axis] for axis in result], -1, np.float32))
    compiled[f"case_{case}"](tvm.runtime.tensor(np.ascontiguousarray(values.transpose(source))), out)
    np.testing.assert_array_equal(out.numpy(), values.transpose(result))


def test_every_case_is_one_that_the_kernel_covers():
    assert all(covers(Form(shape, source), Form(shape, result)) for shape, source, result in CASES)


def test_axes_that_stay_beside_each_other_are_one_run():
    shape = (2, 13, 5, 7)
    assert [run.size for run in runs_of(plain(shape), channels_last(shape))] == [2, 35, 13]


@pytest.mark.parametrize(
    ("data", "out"),
    [
        (Form((6, 8, 16), (0, 1, 2)), Form((6, 8, 16), (1, 0, 2))),  # the innermost axis stays
        (plain((1, 3, 9, 9)), channels_last((1, 3, 9, 9))),
        (plain((1, 16, 1, 3)), channels_last((1, 16, 1, 3))),
        (plain((1, 16, 8, 8), "int64"), channels_last((1, 16, 8, 8), "int64")),
        (plain((1, 1, 1, 1)), channels_last((1, 1, 1, 1))),
    ],
    ids=str,
)
def test_what_has_no_blocks_of_float32_to_turn_is_not_covered(data, out):
    assert not covers(data, out)


def _turned(bundle: Net, *shape: int) -> str:
    return bundle.op("Transpose", bundle.input(*shape), perm=[0, 2, 3, 1])


def test_the_loop_on_arm_takes_less_than_an_instruction_a_value():
    bundle = under_construction()
    bundle.output("y", _turned(bundle, 1, 16, 24, 24))
    loops = innermost_loops(assembly(written(sized(bundle), parse_target("arm"))))
    loop = max(loops, key=lambda one: one.instructions)
    assert loop == Loop("transpose_0", loop.instructions, 0, 0) and loop.instructions <= 64


def test_an_input_that_two_kernels_read_channels_last_is_copied_once():
    bundle = under_construction()
    x = bundle.input(1, 16, 9, 9)
    depthwise = bundle.op("Conv", x, bundle.w(16, 1, 3, 3), group=16, pads=[1, 1, 1, 1])
    bundle.output("y", bundle.op("Add", bundle.op("Conv", x, bundle.w(16, 16, 3, 3), pads=[1] * 4), depthwise))
    bundle.output("pool", bundle.op("MaxPool", x, kernel_shape=[3, 3]))
    program = written(sized(bundle), parse_target("host"))
    copies = {spec.operands[0]: calls for (spec, _), calls in program.calls.items() if spec.family == "transpose"}
    assert copies[plain((1, 16, 9, 9))] == 1
