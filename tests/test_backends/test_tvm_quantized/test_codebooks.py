"""Weights out of codebooks are floats to the TVM backend, whose kernels are those of the net without."""

from __future__ import annotations

from pfir.backends.tvm.backend import TvmBackend
from pfir.ir.shapes import fix_sizes
from pfir.passes.base import Context
from pfir.passes.codebook.quantize_codebook import QuantizeCodebook
from pfir.passes.pipeline import run
from pfir.target import parse_target
from tests.support.net import Net
from tests.test_backends.bundle import answers, error


def _net():
    net = Net(0)
    x = net.relu(net.conv(net.input("N", 8, 6, 6), 8, 24))
    net.output("y", net.head(x, 24))
    return fix_sizes(net.model())


def test_the_library_computes_what_onnx_runtime_computes():
    made, _ = run([QuantizeCodebook(bits=3, channels=8)], _net(), Context())
    ours, theirs = answers(made)
    assert error(ours["y"], theirs["y"]) < 1e-5


def test_kernels_are_those_of_floats():
    plain, target = _net(), parse_target("arm")
    made, _ = run([QuantizeCodebook(bits=3)], plain, Context())
    ours, theirs = ([k.workload for k in TvmBackend().kernels(model, target)] for model in (made, plain))
    assert ours == theirs
