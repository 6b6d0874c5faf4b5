"""Libraries of the original and the result: for the target, and for this machine, measured side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pfir.artifact import Artifact
from pfir.backends.base import Backend
from pfir.compile.verify import verify_somewhere
from pfir.devices import open_device
from pfir.devices.base import Device
from pfir.devices.estimate import EstimateDevice
from pfir.errors import BackendError, DeviceError, UsageError
from pfir.ir.model import Model
from pfir.report.progress import Progress
from pfir.report.record import Verification
from pfir.run.session import Session
from pfir.target import FLOAT32, Target, parse_target, with_arithmetic

ROUNDS = 3
HOST = "host"


@dataclass(frozen=True)
class HostLatency:
    """Seconds of one inference on this machine, original and result taken in turn; None where that was not possible."""

    baseline_s: float | None
    result_s: float | None
    note: str | None = None


def host_latency(backend: Backend, baseline: Model, result: Model, arithmetic: str = FLOAT32) -> HostLatency:
    """Both models, built by the same backend for this machine, one thread, measured in turn: medians of the rounds;
    in float32 where this machine does not have the arithmetic."""
    host, note = _host(arithmetic)
    try:
        built = [backend.build(m, host) for m in (baseline, result)]
        with host_device(backend) as device:
            rounds = [[device.measure(a).seconds for a in built] for _ in range(ROUNDS)]
    except BackendError as error:
        return HostLatency(None, None, f"not measured on this machine: {error}")
    before, after = np.median(rounds, axis=0)
    return HostLatency(float(before), float(after), note)


def _host(arithmetic: str) -> tuple[Target, str | None]:
    try:
        return with_arithmetic(parse_target(HOST), arithmetic), None
    except UsageError:
        return parse_target(HOST), "This machine has no fp16 arithmetic: the latencies on it are of float32 code."


def run_device(url: str | None, backend: Backend, target: Target) -> Device:
    """The device of `--device`, which can run this backend's libraries for this target.

    Raises:
        UsageError: There is no such device, or it runs other libraries.
    """
    if url == HOST and target.triple.partition("-")[0] != parse_target(HOST).triple.partition("-")[0]:
        raise UsageError(
            f"--device host measures this machine, which runs no library for {target.name}; give --device "
            "rpc://HOST:PORT of one that does, or --target host"
        )
    if backend.name != "ort" or url is None:
        return open_device(url, target)
    if url != HOST:
        raise UsageError(f"--device {url} runs libraries of the tvm backend; --backend ort knows the device host only")
    from pfir.backends.ort import OrtHost

    return OrtHost(target.threads)


def host_device(backend: Backend) -> Device:
    """This machine, as what runs this backend's libraries."""
    if backend.name == "ort":
        from pfir.backends.ort import OrtHost

        return OrtHost()
    from pfir.devices.host import HostDevice

    return HostDevice()


def verify_result(
    backend: Backend,
    artifact: Artifact,
    model: Model,
    device: Device,
    feeds: Sequence[Mapping[str, np.ndarray]],
    progress: Progress,
) -> Verification:
    """Compare the library with ONNX Runtime on the same model: on the device, the emulated one, or as a host build.

    Args:
        artifact: The library for the target.
        model: What it was built from, every size fixed.
        device: The device of the run; an estimator runs nothing, so the emulated device or the host takes its place.
        feeds: Sets of inputs, at least one.

    Raises:
        VerifyError: The outputs differ.
    """
    session = Session(model)
    cases = [(inputs, session.predict(inputs)) for inputs in feeds]
    # Where this machine has no fp16 arithmetic its code rounds to float16 after each operation: slow, and as exact.
    host = replace(parse_target(HOST), arithmetic=artifact.target.arithmetic)

    def on_host() -> tuple[Artifact, Device]:
        return _as_device_error(lambda: backend.build(model, host)), host_device(backend)

    places = []
    if not isinstance(device, EstimateDevice):
        places.append((device.name, lambda: (artifact, device)))
    elif _is_aarch64_linux(artifact.target) and backend.name == "tvm":
        places.append(("emulated aarch64", lambda: (artifact, emulated(progress))))
    places.append((HOST, on_host))
    found = verify_somewhere(places, cases, host.arithmetic, progress.note)
    return (
        replace(found, device=HOST) if found.device.lower().startswith(("host", "onnx runtime on the host")) else found
    )


def emulated(progress: Progress) -> Device:
    """The emulated device, set up if it is not yet.

    Raises:
        DeviceError: It cannot be set up here.
    """
    from pfir.devices.emulated import EmulatedDevice

    device = EmulatedDevice(progress=progress.note)
    device.set_up()
    return device


def instructions(
    backend: Backend, models: Sequence[Model], target: Target, feeds: Mapping[str, np.ndarray], progress: Progress
) -> list[int | None]:
    """Instructions of one inference of each model, counted on the emulated device; None where it cannot count."""
    if backend.name != "tvm" or not _is_aarch64_linux(target):
        return [None] * len(models)
    try:
        with emulated(progress) as device:
            return [device.instructions(backend.build(m, target), feeds) for m in models]
    except BackendError as error:
        progress.note(f"instructions were not counted: {error}")
        return [None] * len(models)


def some_samples(dataset, batch: int, count: int = 1) -> list[dict[str, np.ndarray]]:
    """The first batches, as many as hold `count` samples; samples repeat where the data has fewer than one batch."""
    batches = max(1, min(count, len(dataset)) // batch)
    return [dataset.batch(np.arange(i * batch, (i + 1) * batch) % len(dataset)) for i in range(batches)]


def _is_aarch64_linux(target: Target) -> bool:
    return target.triple.startswith("aarch64-linux-gnu")


def _as_device_error(build):
    try:
        return build()
    except DeviceError:
        raise
    except BackendError as error:
        raise DeviceError(str(error)) from error
