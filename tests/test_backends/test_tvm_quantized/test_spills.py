"""The hot loops of kernels over integers keep their registers on 64-bit Arm, whatever else a library holds."""

from __future__ import annotations

import re

import pytest

from benchmarks.kernels.assembly import hot_loops
from benchmarks.kernels.instructions import assembly
from pfir.backends.tvm.lowering.lower import written
from pfir.target import parse_target
from tests.test_backends.bundle import bundled
from tests.test_backends.test_tvm_quantized.nets import QuantizedNet

# Channels, outputs, size, kernel.
_LAYERS = ((8, 16, 24, 1), (16, 32, 24, 1), (32, 32, 24, 1), (64, 64, 12, 1), (32, 32, 16, 3))


def _layer(channels: int, out: int, size: int, kernel: int):
    """What builds a convolution between integers, and a pool that reads it."""

    def build(net):
        q = QuantizedNet(net)
        y = q.pair(q.conv(q.features(channels, size, size), channels, out, kernel))
        return net.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])

    return build


@pytest.mark.parametrize("core", ["cortex-a72", "cortex-a76", "neoverse-v1"])
def test_no_hot_loop_of_a_convolution_over_integers_spills(core):
    cases = {str(layer): _layer(*layer) for layer in _LAYERS}
    loops = hot_loops(assembly(written(bundled(cases), parse_target(core))))
    ours = [loop for name, loop in loops.items() if "int8" in name and loop.multiplies]
    assert len(ours) > len(_LAYERS) and [loop for loop in ours if loop.spills] == []


def _dense(net):
    q = QuantizedNet(net)
    return q.pair(net.op("Gemm", q.image(1, 64), q.weight(64, 32, axis=1), q.bias(32, 0.03)))


def test_the_code_of_a_kernel_does_not_depend_on_what_else_the_library_holds():
    alone, beside = (
        _code(assembly(written(bundled({"one": _dense, **more}), parse_target("neoverse-v1"))))
        for more in ({}, {"pooled": _layer(*_LAYERS[0])})
    )
    # By the last one TVM would decide what it says of the arguments of all.
    assert max(alone) == "conv_int8_1" and max(beside) > "pool"
    assert alone["conv_int8_1"] == beside["conv_int8_1"]


def _code(text: str) -> dict[str, list[str]]:
    """The instructions of each kernel, without the names of their labels."""
    functions = re.split(r"^__tvm_ffi_(\w+):", text, flags=re.M)[1:]
    return {
        name: [line.split()[0] for line in body.partition(".Lfunc_end")[0].splitlines() if re.match(r"\s+[a-z]", line)]
        for name, body in zip(functions[::2], functions[1::2], strict=True)
    }
