from pathlib import Path

import pytest

from pfir.backends.ort import OrtBackend, OrtHost
from pfir.backends.tvm import TvmBackend
from pfir.compile.measuring.latency import (
    Verifiers,
    emulation,
    host_device,
    host_latency,
    instructions,
    run_device,
    verify_result,
)
from pfir.compile.measuring.verification_inputs import inputs_to_verify
from pfir.compile.prepare import fixed
from pfir.data.generated import generated
from pfir.devices.emulation.emulated import EmulatedDevice
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.devices.host import HostDevice
from pfir.errors import CompileError, DeviceError, RunError, UsageError, VerifyError
from pfir.ir.shapes import fix_sizes
from pfir.report.progress import Silent
from pfir.target import parse_target
from tests.support.jobs import images, request, small_net

ARM, HOST = parse_target("arm"), parse_target("host,threads=2")


def test_each_backend_has_its_device_on_this_machine():
    with host_device(OrtBackend()) as device:
        assert isinstance(device, OrtHost) and device.threads == 1
    with host_device(TvmBackend()) as device:
        assert isinstance(device, HostDevice) and device.threads == 1


def test_the_device_of_a_run_uses_the_threads_of_the_target():
    assert isinstance(run_device(None, OrtBackend(), ARM), EstimateDevice)
    for backend, kind in ((OrtBackend(), OrtHost), (TvmBackend(), HostDevice)):
        with run_device("host", backend, HOST) as device:
            assert isinstance(device, kind) and device.threads == 2


@pytest.mark.parametrize(
    ("url", "backend", "target", "word"),
    [
        ("host", OrtBackend(), ARM, "--target host"),
        ("host", TvmBackend(), ARM, "--target host"),
        ("rpc://pi:9090", OrtBackend(), ARM, "--backend ort"),
        ("phone", TvmBackend(), ARM, "phone"),
    ],
)
def test_a_device_that_runs_other_libraries_is_refused(url, backend, target, word):
    if target.triple == HOST.triple:
        pytest.skip("this machine is the target")
    with pytest.raises(UsageError, match=word):
        run_device(url, backend, target)


def test_a_backend_that_fails_here_leaves_a_note_instead_of_a_latency(monkeypatch):
    backend, model = OrtBackend(), fix_sizes(small_net())

    def lacks(*_):
        raise CompileError("no kernel")

    monkeypatch.setattr(OrtBackend, "build", lacks)
    found = host_latency(backend, model, model)
    assert (found.baseline_s, found.result_s) == (None, None) and "no kernel" in found.note


def test_both_models_are_measured_on_this_machine():
    model = fix_sizes(small_net())
    found = host_latency(OrtBackend(), model, model)
    assert found.baseline_s > 0 and found.result_s > 0 and found.note is None


class Failing(EmulatedDevice):
    """An emulated device on which nothing runs, for the reason given."""

    def __init__(self, reason):
        super().__init__()
        self.reason = reason

    def run(self, artifact, inputs):
        raise self.reason

    def instructions(self, artifact, inputs):
        raise self.reason


def _verified(target, emulated=None):
    """The verification of a small net's library for this target, and what was said meanwhile."""
    said, model, backend, progress = [], fix_sizes(small_net()), TvmBackend(), Silent()
    progress.note = said.append
    artifact, feeds = backend.build(model, target), [{"in0": images(1)}]
    return verify_result(backend, artifact, model, Verifiers(EstimateDevice(target), emulated), feeds, progress), said


def test_where_the_emulated_device_cannot_be_set_up_the_host_verifies_and_that_is_recorded():
    found, said = _verified(ARM, Failing(DeviceError("no qemu here")))
    assert found.device == "host" and found.passed and "no qemu here" in said[0]
    assert (found.not_verified_on, found.reason) == ("aarch64", "no qemu here")


def test_a_library_that_fails_on_the_emulated_device_is_not_verified_on_the_host():
    with pytest.raises(VerifyError, match="illegal instruction"):
        _verified(ARM, Failing(RunError("illegal instruction")))


def test_what_no_emulated_device_runs_is_recorded_too():
    found, _ = _verified(parse_target("android-arm64"))
    assert found.passed and found.not_verified_on == "aarch64" and "no emulated device" in found.reason


def test_where_this_machine_is_the_target_no_other_place_is_missed():
    found, said = _verified(HOST)
    assert found.passed and found.not_verified_on is None and not said


def test_a_model_of_a_fixed_batch_is_verified_with_it():
    asked = request(Path("net.onnx"), Path("out"))
    model, backend = fixed(fix_sizes(small_net(), 4), asked), TvmBackend()
    artifact, data = backend.build(model, HOST), generated(model.inputs(), 40)
    feeds = inputs_to_verify(data, model, artifact)
    found = verify_result(backend, artifact, model, Verifiers(EstimateDevice(HOST)), feeds, Silent())
    assert found.passed and found.samples == 4 * len(feeds) == 32


def test_onnx_runtime_is_not_compared_with_itself():
    backend, model = OrtBackend(), fix_sizes(small_net())
    found = verify_result(backend, backend.build(model, ARM), model, Verifiers(EstimateDevice(ARM)), [], Silent())
    assert found.passed is None and found.max_abs_error is None and "not applicable" in found.skipped


def test_instructions_are_counted_only_where_they_can_be():
    model = fix_sizes(small_net())
    for backend, target in ((OrtBackend(), ARM), (TvmBackend(), HOST)):
        with emulation(backend, target, Silent()) as emulated:
            assert emulated is None and instructions(backend, (model, model), target, {}, Silent(), None) == [
                None,
                None,
            ]
    with emulation(TvmBackend(), ARM, Silent()) as emulated:
        assert isinstance(emulated, EmulatedDevice)
    failing = Failing(RunError("no qemu here"))
    assert instructions(TvmBackend(), (model, model), ARM, {}, Silent(), failing) == [None, None]
