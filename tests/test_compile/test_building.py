import numpy as np
import pytest

from pfir.backends.ort import OrtBackend, OrtHost
from pfir.backends.tvm import TvmBackend
from pfir.compile import building
from pfir.compile.building import host_device, host_latency, instructions, run_device, some_samples, verify_result
from pfir.data import open_data
from pfir.devices.estimate import EstimateDevice
from pfir.devices.host import HostDevice
from pfir.errors import CompileError, DeviceError, UsageError
from pfir.ir.shapes import fix_sizes
from pfir.report.progress import Silent
from pfir.target import parse_target
from tests.jobs import images, small_net, write_data

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
    [("host", OrtBackend(), ARM, "--target host"), ("host", TvmBackend(), ARM, "--target host"),
     ("rpc://pi:9090", OrtBackend(), ARM, "--backend ort"), ("phone", TvmBackend(), ARM, "phone")],
)  # fmt: skip
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


def test_where_no_emulated_device_can_be_the_host_verifies(monkeypatch):
    def missing(_):
        raise DeviceError("no qemu here")

    monkeypatch.setattr(building, "emulated", missing)
    said, model, backend = [], fix_sizes(small_net()), TvmBackend()
    progress = Silent()
    progress.note = said.append
    artifact = backend.build(model, ARM)
    feeds = [{"in0": images(1)}]
    found = verify_result(backend, artifact, model, EstimateDevice(ARM), feeds, progress)
    assert found.device == "host" and found.passed and "no qemu here" in said[0]


def test_instructions_are_counted_only_where_they_can_be(monkeypatch):
    def missing(_):
        raise DeviceError("no qemu here")

    monkeypatch.setattr(building, "emulated", missing)
    model = fix_sizes(small_net())
    for backend, target in ((OrtBackend(), ARM), (TvmBackend(), HOST), (TvmBackend(), ARM)):
        assert instructions(backend, (model, model), target, {}, Silent()) == [None, None]


def test_samples_repeat_where_the_data_is_shorter_than_the_batch(tmp_path):
    data = open_data(write_data(tmp_path, count=2), small_net().inputs())
    x = some_samples(data, 5)[0]["in0"]
    assert x.shape[0] == 5
    np.testing.assert_array_equal(x[[0, 1, 0, 1, 0]], x)
