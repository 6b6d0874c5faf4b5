"""Kernels called on operands that stand between pages which may not be touched: a stray access ends the process."""

from __future__ import annotations

import ctypes
import mmap
import platform
from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from pfir.backends.tvm.library.build import tvm_target
from pfir.backends.tvm.library.stack import tir_pipeline
from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.lowering.values import Program, result_memory
from pfir.backends.tvm.schedule import candidate_schedules as candidates
from pfir.backends.tvm.schedule.algorithms import plan
from pfir.target import FLOAT32, Arithmetic, parse_target
from tests.test_backends.bundle import sized, under_construction

_NOTHING = 0  # PROT_NONE
# No masked loads: those of AVX-512 hide what a kernel reads and then drops.
_TARGET = "x86-64" if platform.machine() == "x86_64" else "arm"


def fenced(array: np.ndarray, at_end: bool) -> np.ndarray:
    """A copy whose last byte, or else whose first, borders on a page that may not be touched."""
    page = mmap.PAGESIZE
    inside = -(-array.nbytes // page) * page
    memory = mmap.mmap(-1, inside + 2 * page)
    whole = np.frombuffer(memory, np.uint8)
    start = page + (inside - array.nbytes if at_end else 0)
    result = whole[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    result[...] = array
    libc = ctypes.CDLL(None, use_errno=True)
    for fence in (whole.ctypes.data, whole.ctypes.data + page + inside):
        if libc.mprotect(ctypes.c_void_p(fence), ctypes.c_size_t(page), _NOTHING):
            raise OSError(ctypes.get_errno(), "mprotect")
    return result


def convolutions(outputs: int, arithmetic: Arithmetic = FLOAT32) -> Program:
    """3x3 and other convolutions of 16 or 32 channels, so that every operand fills whole cache lines; those that can be
    are computed by Winograd's algorithm in tiles of `outputs` x `outputs`."""
    b, c = under_construction(), 64 // arithmetic.data_bytes
    x = b.op("Conv", b.input(2, c, 9, 10), b.w(c, c, 1, 1))
    first = b.op("Conv", x, b.w(c, c, 3, 3), b.w(c), pads=[1, 1, 1, 1])
    b.output("residual", b.op("Relu", b.op("Add", first, x)))
    b.output("uneven", b.op("Conv", first, b.w(2 * c, c, 3, 3), pads=[2, 0, 1, 2]))
    b.output("inside", b.op("Conv", first, b.w(c, c, 3, 3), b.w(c)))
    b.output("strided", b.op("Conv", first, b.w(c, c, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1]))
    square = b.op("Conv", b.input(2, c, 8, 8), b.w(c, c, 1, 1))
    b.output("narrow", b.op("Conv", square, b.w(13, c, 5, 5), pads=[2, 2, 2, 2]))
    b.output("image", b.op("Conv", b.input(2, 3, 8, 8), b.w(c, 3, 3, 3), strides=[2, 2], pads=[1, 1, 0, 0]))
    b.output("depthwise", b.op("Conv", first, b.w(c, 1, 3, 3), group=c, pads=[1, 1, 1, 1]))
    b.output("pool", b.op("MaxPool", first, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            candidates, "winograd_or_direct", lambda target, channels, out: plan(target, channels, out, outputs)
        )
        return written(sized(b), replace(parse_target(_TARGET), threads=1, arithmetic=arithmetic))


def rows() -> Program:
    """Kernels over rows, products of computed tensors, chains and slices: sizes that no vector divides, of operands
    that fill whole cache lines."""
    b = under_construction()
    x, image = b.input(16, 5), b.input(1, 16, 3, 3)
    b.output("softmax", b.op("Softmax", x, axis=-1))
    b.output("mean", b.op("ReduceMean", image, axes=[2, 3]))
    b.output("norm", b.op("InstanceNormalization", image, b.w(16), b.w(16)))
    b.output("product", b.op("MatMul", b.input(2, 8, 7), b.input(2, 7, 24)))
    b.output("columns", b.op("MatMul", b.input(16, 8), b.w(8, 10)))
    b.output("chain", b.op("Sigmoid", b.op("Mul", image, b.w(16, 1, 1))))
    x = b.op("Conv", b.input(2, 6, 8, 8), b.w(6, 1, 1, 3), group=6, pads=[0, 1, 0, 1])
    b.output("across columns", b.op("Conv", x, b.w(6, 1, 3, 1), b.w(6), group=6, pads=[1, 0, 1, 0]))
    b.output("slice", b.op("Slice", b.input(16, 9), b.ints(2), b.ints(7), b.ints(1)))
    return written(sized(b), replace(parse_target(_TARGET), threads=1))


def call_between_fences(make: Callable[..., Program], *arguments: int) -> None:
    """Each kernel of the program, with a fence right before its operands and with one right behind them."""
    import tvm
    from tvm import tirx

    program = make(*arguments)
    functions = {v: f for v, f in program.builder.get().functions.items() if isinstance(f, tirx.PrimFunc)}
    code = tvm.compile(tvm.IRModule(functions), tvm_target(program.target), tir_pipeline=tir_pipeline())
    random = np.random.default_rng(0)
    for (index, (spec, _)), at_end in product(enumerate(program.kernels), (False, True)):
        sizes = [*((form.memory, form.dtype) for form in spec.operands), (result_memory(spec), spec.out.dtype)]
        arrays = [fenced(random.standard_normal(shape).astype(dtype), at_end) for shape, dtype in sizes]
        code[f"{spec.family}_{index}"](*(tvm.runtime.from_dlpack(array) for array in arrays))
        assert np.isfinite(arrays[-1]).all()
