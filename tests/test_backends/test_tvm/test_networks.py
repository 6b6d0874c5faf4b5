"""Whole networks: the library agrees with ONNX Runtime, the ARM build is one, and what cannot be built is named."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest

from pfir.artifact import SLOW_KERNELS
from pfir.backends.tvm import TvmBackend
from pfir.backends.tvm.families import FAMILIES
from pfir.backends.tvm.library import store
from pfir.backends.tvm.library.link import linker, zig_triple
from pfir.backends.tvm.lowering.lower import written
from pfir.compile.flow import slow_kernels
from pfir.errors import CompileError
from pfir.frontends import load
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.passes import pipeline
from pfir.passes.base import Context
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.simplification.simplify import Simplify
from pfir.target import parse_target
from tests.support.models import shared_model
from tests.test_backends import devices
from tests.test_backends.bundle import answers, error, feeds, reference, sized, under_construction

AARCH64, ARM, SHARED_OBJECT = 183, 40, 3


def _folded(name: str) -> Model:
    model = fix_sizes(load(shared_model(name)))
    return pipeline.run((Simplify(), FoldBatchNorm()), model, Context())[0]


def _elf(library: bytes) -> tuple[int, int]:
    """File type and machine of an ELF header."""
    assert library[:4] == b"\x7fELF"
    return struct.unpack_from("<HH", library, 16)


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_folder", lambda: tmp_path)


@pytest.mark.parametrize(
    "name", ["resnet20_cifar10_fp32.onnx", "mediapipe_face_landmark.onnx", "mltk_keyword_spotting_fp32.onnx"]
)
def test_a_real_network_computes_what_onnx_runtime_computes(name):
    model = _folded(name)
    ours, theirs = answers(model)
    assert ours.keys() == theirs.keys()
    assert all(error(ours[output], theirs[output]) < 1e-4 for output in theirs)


@pytest.mark.parametrize(("target", "machine"), [("arm", AARCH64), ("arm:cortex-a76", AARCH64), ("armv7", ARM)])
def test_a_build_for_arm_is_a_shared_library_for_arm(target, machine):
    artifact = TvmBackend().build(_convolution(), parse_target(target))
    assert _elf(artifact.files[artifact.library]) == (SHARED_OBJECT, machine)


def test_resnet_20_builds_for_arm():
    artifact = TvmBackend().build(_folded("resnet20_cifar10_fp32.onnx"), parse_target("arm"))
    assert _elf(artifact.files[artifact.library]) == (SHARED_OBJECT, AARCH64)
    assert artifact.kernels and artifact.inputs[0].shape == (1, 3, 32, 32)


def test_the_same_model_gives_the_same_bytes(tmp_path, monkeypatch):
    model, backend, target = _convolution(), TvmBackend(), parse_target("arm")
    first = backend.build(model, target)
    monkeypatch.setattr(store, "_folder", lambda: tmp_path / "another")
    assert backend.build(model, target).files == first.files


def test_a_library_is_taken_from_the_store_when_nothing_changed(monkeypatch):
    model, backend, target = _convolution(), TvmBackend(), parse_target("host")
    first = backend.build(model, target)
    monkeypatch.setattr("pfir.backends.tvm.backend.written", None)
    assert backend.build(model, target).files == first.files


def test_a_store_that_cannot_be_written_does_not_stop_a_build(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    monkeypatch.setattr(store, "_folder", lambda: blocked / "folder")
    assert TvmBackend().build(_convolution(), parse_target("host")).files


def test_inputs_without_axes_and_constants_without_elements_are_no_trouble():
    bundle = under_construction()
    x, rate = bundle.input(1, 3, 4), bundle.input()
    joined = bundle.op("Concat", bundle.const(np.zeros((1, 0, 4), np.float32)), x, x, axis=1)
    bundle.output("y", bundle.op("Mul", bundle.op("Relu", joined), rate))
    ours, theirs = answers(sized(bundle))
    assert error(ours["y"], theirs["y"]) < 1e-6


def test_equal_convolutions_share_one_kernel():
    bundle = under_construction()
    x = bundle.input(1, 8, 6, 6)
    for _ in range(4):
        x = bundle.op("Relu", bundle.op("Conv", x, bundle.w(8, 8, 3, 3), bundle.w(8), pads=[1] * 4))
    bundle.output("y", x)
    module = written(sized(bundle), parse_target("host")).builder.get()
    first, rest, back, main = 1, 1, 1, 1
    assert len(module.functions) == first + rest + back + main


@pytest.mark.parametrize(
    ("op", "build"),
    [
        ("Det", lambda b: b.op("Det", b.input(4, 3, 3))),
        ("NonZero", lambda b: b.op("Cast", b.op("NonZero", b.input(1, 5)), to=1)),
        (
            "LSTM",
            lambda b: b.op("LSTM", b.input(4, 1, 3), b.w(1, 20, 3), b.w(1, 20, 5), hidden_size=5, outs=2)[0],
        ),
    ],
)
def test_an_operator_that_cannot_be_compiled_is_named_with_what_to_do(op, build):
    bundle = under_construction()
    bundle.output("y", build(bundle))
    with pytest.raises(CompileError, match=rf"{op}_1 \({op}\).*--backend ort"):
        TvmBackend().check(sized(bundle))


def test_an_input_without_sizes_is_named():
    model = _convolution()
    model.graph.inputs[0].shape = ["N", 3, 8, 8]
    with pytest.raises(CompileError, match="input in0.*--input-shape"):
        TvmBackend().check(model)


def test_an_architecture_that_is_not_linked_for_is_refused():
    with pytest.raises(CompileError, match="riscv64.*x86_64, aarch64, arm"):
        zig_triple("riscv64-linux-gnu")


def test_objects_that_do_not_link_are_an_error_of_the_compiler(tmp_path):
    garbage = tmp_path / "lib.o"
    garbage.write_bytes(b"no object")
    with pytest.raises(CompileError, match="linking for x86_64-linux-gnu"):
        linker("x86_64-linux-gnu")(str(tmp_path / "out.so"), [str(garbage)])


def test_what_tvm_refuses_is_an_error_of_the_compiler(monkeypatch):
    import tvm

    def refuse(*_, **__):
        raise tvm.error.InternalError("not today")

    monkeypatch.setattr("tvm.relax.build", refuse)
    with pytest.raises(CompileError, match="host: .*not today"):
        TvmBackend().build(_convolution(), parse_target("host"))


def test_two_threads_compute_what_one_does():
    model = _convolution()
    values = feeds(model.inputs())
    ours = devices.host(2).run(TvmBackend().build(model, parse_target("host,threads=2")), values)
    assert error(ours["y"], reference(model, values)["y"]) < 1e-5


def test_sizes_that_no_schedule_fits_still_compute_the_right_thing(monkeypatch):
    from tvm.s_tir.schedule import ScheduleError

    def refuse(*_):
        raise ScheduleError("no")

    monkeypatch.setitem(FAMILIES, "conv", replace(FAMILIES["conv"], make=refuse))
    model = _convolution()
    values = feeds(model.inputs())
    backend = TvmBackend()
    artifact = backend.build(model, parse_target("host"))
    ours = devices.host().run(artifact, values)
    assert error(ours["y"], reference(model, values)["y"]) < 1e-5
    assert artifact.notes[SLOW_KERNELS] == "Conv_1 (Conv), Relu_2 (Relu)"
    assert "Conv_1 (Conv)" in slow_kernels(artifact)[0]
    assert backend.build(model, parse_target("host")).notes == artifact.notes  # from the store too


def test_a_network_of_our_own_kernels_has_no_slow_ones():
    artifact = TvmBackend().build(_convolution(), parse_target("host"))
    assert SLOW_KERNELS not in artifact.notes and slow_kernels(artifact) == ()


def _convolution() -> Model:
    bundle = under_construction()
    x = bundle.input(1, 3, 8, 8)
    bundle.output("y", bundle.op("Relu", bundle.op("Conv", x, bundle.w(5, 3, 3, 3), pads=[1] * 4)))
    return sized(bundle)
