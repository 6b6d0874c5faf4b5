"""Depthwise kernels over integers give what the integers give, by whatever instructions this machine has."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.backends.tvm.kernels.axis import Axis
from pfir.backends.tvm.kernels.integers.depthwise.kernel import depthwise_int8
from pfir.backends.tvm.kernels.integers.depthwise.packing import pack_depthwise
from pfir.backends.tvm.kernels.integers.depthwise.products import products_by
from pfir.backends.tvm.kernels.integers.packing import Border, starts
from pfir.backends.tvm.library.build import tvm_target
from pfir.backends.tvm.library.stack import tir_pipeline
from pfir.backends.tvm.lowering.form import KernelSpec, Step, channels_last, plain
from pfir.backends.tvm.schedule.blocks import Block
from pfir.backends.tvm.schedule.integers.dot_blocks import dot_of
from pfir.backends.tvm.schedule.tile_kinds import ChannelTile
from pfir.target import parse_target

HOST = parse_target("host")
# Data, kernel, strides, dilations, pads; lanes of blocks; lines.
CASES = {
    "two lines, an overlapping block": ((2, 13, 5, 9), (3, 3), (1, 1), (1, 1), (1, 1), (8, 8), 2),
    "strided, a narrower block": ((1, 12, 9, 8), (5, 5), (2, 2), (1, 1), (2, 2), (8, 4), 1),
    "along a row, dilated": ((1, 16, 1, 25), (1, 5), (1, 1), (1, 2), (0, 4), (16,), 1),
    "two lines of one column": ((1, 8, 7, 1), (5, 1), (1, 1), (1, 1), (2, 0), (8,), 2),
}


def _ways() -> list[tuple[str, str]]:
    """Instructions and types of data that this machine can take."""
    dot = dot_of(HOST)
    return [("", "int8"), ("", "uint8"), *([(dot, "uint8")] if dot == "vpdpbusd" else [])]


@pytest.mark.parametrize("way", _ways(), ids=lambda way: " ".join(way).strip())
@pytest.mark.parametrize("name", CASES)
def test_sums_are_those_of_the_integers(name, way):
    data, kernel, strides, dilations, pads, lanes, lines = CASES[name]
    random, (dot, dtype) = np.random.default_rng(0), way
    limits = np.iinfo(dtype)
    x = random.integers(limits.min, limits.max + 1, data).astype(dtype)
    weight = random.integers(-127, 128, (data[1], 1, *kernel)).astype(np.int8)
    bias, zero = random.integers(-999, 1000, data[1]).astype(np.int32), limits.min + 117
    expected = _convolved(x.astype(int) - zero, weight.astype(int), strides, dilations, pads) + bias[:, None, None]
    sizes = zip(data[2:], expected.shape[2:], kernel, strides, dilations, pads, strict=True)
    borders, blocks = [Border(Axis(*axis)) for axis in sizes], tuple(Block((n,), 0, 3) for n in lanes)
    packed = pack_depthwise(weight, blocks, lines, products_by(dot, dtype), borders[0])
    begin = starts(weight, bias, zero, *borders)
    attributes = {"strides": strides, "dilations": dilations, "pads": pads, "kernel": kernel, "blocks": blocks}
    attributes |= {"lines": lines, "dot": dot, "by": "any", "fenced": False}
    forms = channels_last(data, dtype), plain(packed.shape, "int8"), plain(begin.shape, "int32")
    spec = KernelSpec("depthwise_int8", tuple(attributes.items()), forms, 3, (), channels_last(expected.shape))
    np.testing.assert_array_equal(_run(spec, x.transpose(0, 2, 3, 1), packed, begin).transpose(0, 3, 1, 2), expected)


def _convolved(x, weight, strides, dilations, pads):
    padded = np.pad(x, ((0, 0), (0, 0), *((pad, pad) for pad in pads)))
    spans = [step * (k - 1) + 1 for k, step in zip(weight.shape[2:], dilations, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(2, 3))
    seen = seen[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
    return np.einsum("nchwkl,ckl->nchw", seen, weight[:, 0])


def _run(spec, *arrays):
    import tvm

    function = depthwise_int8(spec, ChannelTile(8, 3)).with_attr("global_symbol", "main")
    library = tvm.compile(tvm.IRModule({"main": function}), target=tvm_target(HOST), tir_pipeline=tir_pipeline())
    result = tvm.runtime.tensor(np.zeros(spec.out.memory, spec.out.dtype))
    library["main"](*(tvm.runtime.tensor(np.ascontiguousarray(array)) for array in arrays), result)
    return result.numpy()


def test_rounding_is_the_last_step():
    spec_steps = (Step("QuantizeLinear", (("scale", 2.0), ("zero_point", 3)), (("main", 0),)),)
    weight = np.ones((8, 1, 1, 1), np.int8)
    border, blocks = Border(Axis(4, 4, 1, 1, 1, 0)), (Block((8,), 0, 4),)
    packed, begin = (
        pack_depthwise(weight, blocks, 1, products_by("", "int8"), border),
        starts(weight, None, 0, border, border),
    )
    attributes = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0), "kernel": (1, 1), "blocks": blocks}
    attributes |= {"lines": 1, "dot": "", "by": "any", "fenced": False}
    form = channels_last((1, 8, 4, 4), "int8")
    forms = form, plain(packed.shape, "int8"), plain(begin.shape, "int32")
    x = np.arange(-64, 64, dtype=np.int8).reshape(1, 4, 4, 8)
    found = _run(KernelSpec("depthwise_int8", tuple(attributes.items()), forms, 3, spec_steps, form), x, packed, begin)
    np.testing.assert_array_equal(found, np.rint(x / 2) + 3)
