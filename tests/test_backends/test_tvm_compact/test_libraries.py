"""Libraries whose constants are linked in compact form give the bits of those that hold them as kernels read them."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.artifact import Artifact
from pfir.backends.tvm import TvmBackend
from pfir.backends.tvm.backend import LIBRARY
from pfir.backends.tvm.library.build import build_compact
from pfir.backends.tvm.library.compact.choice import PLAIN, READ, SMALLEST, Price, cheapest
from pfir.backends.tvm.lowering.lower import written
from pfir.devices.emulation.emulated import EmulatedDevice
from pfir.devices.host import HostDevice
from pfir.errors import DeviceError
from pfir.ir.model import Model
from pfir.target import FLOAT16, Target, parse_target, with_arithmetic
from tests.support.net import Net
from tests.test_backends.bundle import bundled, feeds
from tests.test_backends.test_tvm_quantized.nets import convolution

CHANNELS = 32


def _conv(values):
    """A 3x3 convolution of these weights behind a pointwise one."""

    def build(b: Net) -> str:
        x = b.op("Conv", b.input(1, 4, 9, 9), b.w(CHANNELS, 4, 1, 1))
        weight = values(b.rng, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
        return b.op("Conv", x, b.const(weight), b.w(CHANNELS), pads=[1, 1, 1, 1])

    return build


def _normal(rng, shape):
    return rng.standard_normal(shape)


def _few(rng, shape):
    return rng.choice(rng.standard_normal(16), shape)


def _sparse(rng, shape):
    """With zeros of both signs."""
    return np.where(rng.random(shape) < 0.8, rng.choice([-0.0, 0.0], shape), rng.standard_normal(shape))


def _dense(b: Net) -> str:
    return b.op("MatMul", b.input(1, 64), b.const(_few(b.rng, (64, 96)).astype(np.float32)))


CASES = {
    "any weights": _conv(_normal),
    "few weights": _conv(_few),
    "zeros": _conv(_sparse),
    "a codebook of a dense layer": _dense,
    "eight bits": convolution(32, 32, 16, 16),
}


@pytest.fixture(scope="module")
def model() -> Model:
    return bundled(CASES)


def _built(model: Model, target: Target, byte_s: float) -> Artifact:
    program = written(model, target)
    library, constants = build_compact(program.builder.get(), program.transformed, Price(target, byte_s))
    ends = model.inputs(), model.outputs()
    return Artifact("tvm", target, {LIBRARY: library}, LIBRARY, *ends, constants=constants)


def _compare(model: Model, target: Target, device, *prices: float) -> list[Artifact]:
    """The libraries, the first of which is plain; the outputs of the others are its own, to the bit."""
    made, values = [_built(model, target, price) for price in (PLAIN, *prices)], feeds(model.inputs())
    plain, *others = [device.run(artifact, values) for artifact in made]
    for found in others:
        assert all(np.array_equal(found[name], plain[name]) for name in plain)
        assert all(plain[name].std() > 0 for name in plain)
    return made


def test_zeros_of_both_signs_are_left_out():
    program = written(bundled({"zeros": CASES["zeros"]}), parse_target("host"))
    (constant,) = program.transformed
    form = cheapest(constant.points, Price(program.target, SMALLEST), constant)
    assert form.size_bytes < (0.2 + 1 / 32) * 1.1 * constant.kernels.nbytes


def test_outputs_on_this_machine_are_the_same_to_the_bit(model):
    with HostDevice() as device:
        plain, compact = _compare(model, parse_target("host"), device, SMALLEST)
    sizes = [len(artifact.files[LIBRARY]) for artifact in (plain, compact)]
    saved = plain.constants.linked_bytes - compact.constants.linked_bytes
    assert plain.constants.linked_bytes == plain.constants.read_bytes == compact.constants.read_bytes
    assert saved > 0.8 * plain.constants.read_bytes and abs(sizes[0] - sizes[1] - saved) < 8192
    assert (plain.constants.load_instructions, plain.constants.load_s) == (0, 0)
    assert compact.constants.load_instructions > 0 and compact.constants.load_s > 0


@pytest.mark.parametrize(
    "target", [parse_target("arm"), with_arithmetic(parse_target("cortex-a76"), FLOAT16)], ids=["int16", "float16"]
)
def test_outputs_on_the_emulated_device_are_the_same_to_the_bit(model, target):
    """Without dot products eight bits go by Winograd's tiles in 16 bits."""
    families = {spec.family for spec, _ in written(model, target).calls}
    assert "winograd" in families and (target.arithmetic == FLOAT16 or "winograd_int8" in families)
    with EmulatedDevice() as device:
        try:
            device.set_up()
        except DeviceError as reason:
            pytest.skip(f"no emulated device here: {reason}")
        _compare(model, target, device, READ)


def test_libraries_of_32_bits_are_linked_as_well(model):
    plain, compact = (_built(model, parse_target("armv7"), price) for price in (PLAIN, SMALLEST))
    assert len(compact.files[LIBRARY]) < len(plain.files[LIBRARY]) / 2


def test_a_goal_of_size_takes_the_smallest_form_and_others_what_loads_no_slower(model):
    small, fast = (TvmBackend(smallest=smallest).build(model, parse_target("arm")) for smallest in (True, False))
    assert small.constants.linked_bytes <= fast.constants.linked_bytes < fast.constants.read_bytes
