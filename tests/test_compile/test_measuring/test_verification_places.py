"""`--verify` and `--offline`: where a library is verified, and that nothing else is fetched or tried."""

import pytest

from pfir.backends import open_backend
from pfir.backends.ort import OrtBackend
from pfir.backends.tvm import TvmBackend
from pfir.compile.measuring.latency import Verifiers, emulation, verify_result
from pfir.compile.measuring.verification_places import Where
from pfir.devices.base import Device
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.errors import DeviceError, UsageError
from pfir.ir.shapes import fix_sizes
from pfir.report.progress import Silent
from pfir.run.session import Session
from pfir.target import parse_target
from tests.support.jobs import images, small_net

ARM = parse_target("arm")
FEEDS = [{"in0": images(1)}]


class Emulated(Device):
    """Computes with ONNX Runtime in place of an emulator, or cannot be set up."""

    name = "emulated aarch64"

    def __init__(self, model, fault=None):
        self._session, self._fault = Session(model), fault

    def measure(self, artifact):
        raise DeviceError("no latency")

    def run(self, artifact, inputs):
        if self._fault:
            raise DeviceError(self._fault)
        return self._session.predict(inputs)


@pytest.fixture(scope="module")
def built():
    model, backend = fix_sizes(small_net()), TvmBackend()
    return model, backend, backend.build(model, ARM)


def verified(built, choice, fault=None):
    model, backend, artifact = built
    device = Emulated(model, fault)
    return verify_result(
        backend, artifact, model, Verifiers(EstimateDevice(ARM), device, Where(choice)), FEEDS, Silent()
    )


@pytest.mark.parametrize(
    ("choice", "fault", "device", "elsewhere"),
    [
        ("auto", None, "emulated aarch64", None),
        ("auto", "no qemu", "host", "aarch64"),
        ("emulated", None, "emulated aarch64", None),
        ("host", None, "host", "aarch64"),
    ],
)
def test_a_library_is_verified_where_it_is_wanted(built, choice, fault, device, elsewhere):
    found = verified(built, choice, fault)
    assert (found.device, found.passed, found.not_verified_on) == (device, True, elsewhere)


def test_verify_emulated_means_there_or_not_at_all(built):
    with pytest.raises(DeviceError, match="--verify emulated: .*no qemu") as caught:
        verified(built, "emulated", "no qemu")
    assert caught.value.exit_code == 5


def test_verify_none_runs_nothing_and_says_so(built):
    model, backend, artifact = built
    found = verify_result(backend, artifact, model, Verifiers(EstimateDevice(ARM), None, Where("none")), [], Silent())
    assert not found.passed and found.skipped == "--verify none"


@pytest.mark.parametrize(("backend", "target"), [("ort", "arm"), ("tvm", "armv7"), ("tvm", "host")])
def test_an_emulated_device_that_cannot_be_is_refused_before_any_work(backend, target):
    with pytest.raises(UsageError, match="--verify emulated: the emulated device runs aarch64 libraries"):
        Where("emulated").check(open_backend(backend), parse_target(target))
    for choice in ("auto", "host", "none"):
        Where(choice).check(open_backend(backend), parse_target(target))


def test_an_unknown_place_is_refused_with_those_that_are_known():
    with pytest.raises(UsageError, match="--verify phone is not known; it is one of auto, emulated, host, none"):
        Where("phone")


@pytest.mark.parametrize("choice", ["host", "none"])
def test_nothing_is_set_up_where_no_emulated_device_is_wanted(choice):
    with emulation(TvmBackend(), ARM, Silent(), Where(choice)) as device:
        assert device is None
    with emulation(OrtBackend(), ARM, Silent()) as device:
        assert device is None


def test_offline_an_emulated_device_that_is_wanted_and_not_there_ends_the_run_before_the_search(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(DeviceError, match="nothing may be fetched"):
        emulation(TvmBackend(), ARM, Silent(), Where("emulated", offline=True))
    device = emulation(TvmBackend(), ARM, Silent(), Where(offline=True))
    with device, pytest.raises(DeviceError, match="nothing may be fetched"):
        device.set_up()
    assert list(tmp_path.iterdir()) == []
