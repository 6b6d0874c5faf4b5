"""Libraries of the original and the result: for the target, and for this machine, measured side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np

from pfir.artifact import Artifact
from pfir.backends.base import Backend
from pfir.compile.measuring.verification import Place, verify_somewhere
from pfir.compile.measuring.verification_places import ANYWHERE, AUTO, EMULATED, HOST, NONE, Where
from pfir.devices.base import Device
from pfir.errors import BackendError, DeviceError, UsageError
from pfir.ir.edit import is_op
from pfir.ir.model import Model
from pfir.report.progress import Progress
from pfir.report.record import Verification
from pfir.run.session import Session
from pfir.target import FLOAT32, Arithmetic, Target, parse_target, with_arithmetic

ROUNDS = 3


@dataclass(frozen=True)
class HostLatency:
    """What takes how long on this machine; None where that could not be measured.

    Args:
        baseline_s, result_s: One inference, original and result taken in turn.
        note: What a reader should know of it.
        load_s: Until the result's library is ready to run.
    """

    baseline_s: float | None
    result_s: float | None
    note: str | None = None
    load_s: float | None = None


def host_latency(backend: Backend, baseline: Model, result: Model, arithmetic: Arithmetic = FLOAT32) -> HostLatency:
    """Both models, built by the same backend for this machine, one thread, measured in turn: medians of the rounds.

    The original's floats are float32; the result's, too, where this machine does not have the arithmetic.
    """
    host, note = _host(arithmetic)
    try:
        built = [backend.build(baseline, parse_target(HOST)), backend.build(result, host)]
        with host_device(backend) as device:
            rounds = [[device.measure(a).seconds for a in built] for _ in range(ROUNDS)]
            load_s = device.load_seconds(built[-1])
    except BackendError as error:
        return HostLatency(None, None, f"not measured on this machine: {error}")
    before, after = np.median(rounds, axis=0)
    return HostLatency(float(before), float(after), note, load_s)


def _host(arithmetic: Arithmetic) -> tuple[Target, str | None]:
    try:
        return with_arithmetic(parse_target(HOST), arithmetic), None
    except UsageError:
        return parse_target(HOST), "This machine has no fp16 arithmetic: the latencies on it are of float32 code."


def run_device(url: str | None, backend: Backend, target: Target) -> Device:
    """The device of `--device`, which can run this backend's libraries for this target.

    Raises:
        UsageError: There is no such device, or it runs other libraries.
    """
    if url == HOST and _architecture(target) != _architecture(parse_target(HOST)):
        raise UsageError(
            f"--device host measures this machine, which runs no library for {target.name}; give --device "
            "rpc://HOST:PORT of one that does, or --target host"
        )
    return backend.device(url, target)


def host_device(backend: Backend) -> Device:
    """This machine, as what runs this backend's libraries on one thread."""
    return backend.device(HOST, parse_target(HOST))


@dataclass(frozen=True)
class Verifiers:
    """The devices on which a library may be verified.

    Args:
        device: The device of the run; an estimator runs nothing, so the emulated device or the host takes its place.
        emulated: What `emulation` gave.
        where: Which places the user wants.
    """

    device: Device
    emulated: Device | None = None
    where: Where = ANYWHERE


def verify_result(
    backend: Backend,
    artifact: Artifact,
    model: Model,
    verifiers: Verifiers,
    feeds: Sequence[Mapping[str, np.ndarray]],
    progress: Progress,
) -> Verification:
    """Compare the library with ONNX Runtime on the same model: on the device, the emulated one, or as a host build.

    What ONNX Runtime itself runs is not compared: it would be with itself.

    Args:
        artifact: The library for the target.
        model: What it was built from, every size fixed.
        verifiers: Where it may run.
        feeds: Sets of inputs, at least one, the first of samples.

    Raises:
        VerifyError: The outputs differ, or the library fails while running.
        DeviceError: The one place that the user wants cannot be set up.
    """
    if backend.is_onnxruntime:
        return Verification(HOST, None, skipped="not applicable: ONNX Runtime itself runs the result")
    where = verifiers.where
    if where.choice == NONE:
        return Verification(NONE, False, skipped="--verify none")
    session = Session(model)
    cases = [(inputs, session.predict(inputs)) for inputs in feeds]
    # Where this machine has no fp16 arithmetic its code rounds to float16 after each operation: slow, and as exact.
    host = replace(parse_target(HOST), arithmetic=artifact.target.arithmetic)

    with host_device(backend) as here:

        def on_host() -> tuple[Artifact, Device]:
            return _as_device_error(lambda: backend.build(model, host)), here

        places = [*_places(artifact, verifiers), (HOST, on_host)]
        if where.choice == EMULATED:
            places = places[:1]
        unfused = _unfused(model, feeds)
        found = where.insist(verify_somewhere(places, cases, host.arithmetic, progress.note, unfused))
    if where.choice == HOST and _architecture(artifact.target) != _architecture(host):
        found = replace(found, not_verified_on=_architecture(artifact.target), reason="--verify host")
    return replace(found, device=HOST) if found.device.startswith(HOST) else found


def _unfused(model: Model, feeds: Sequence[Mapping[str, np.ndarray]]) -> list[Mapping[str, np.ndarray]]:
    """What ONNX Runtime gives of a quantized model if it computes node by node; nothing of any other model."""
    if not any(is_op(node, "QuantizeLinear") for node in model.nodes()):
        return []
    session = Session(model, is_fused=False)
    return [session.predict(inputs) for inputs in feeds]


def _places(artifact: Artifact, verifiers: Verifiers) -> list[Place]:
    """Where the library itself can run, as far as the user wants it there."""
    emulated = verifiers.emulated
    if verifiers.where.choice == AUTO:
        return _everywhere(artifact, verifiers.device, emulated)
    wanted = verifiers.where.choice == EMULATED and emulated is not None
    return [(_architecture(artifact.target), lambda: (artifact, emulated))] if wanted else []


def _everywhere(artifact: Artifact, device: Device, emulated: Device | None) -> list[Place]:
    """Where the library itself can run, or is not known to; none where it is for a machine as this one."""
    if device.runs:
        return [(device.name, lambda: (artifact, device))]
    if emulated is not None:
        return [(_architecture(artifact.target), lambda: (artifact, emulated))]
    if _architecture(artifact.target) == _architecture(parse_target(HOST)):
        return []

    def nowhere() -> tuple[Artifact, Device]:
        raise DeviceError(f"no emulated device runs libraries for {artifact.target.triple}")

    return [(_architecture(artifact.target), nowhere)]


def emulation(
    backend: Backend, target: Target, progress: Progress, where: Where = ANYWHERE
) -> AbstractContextManager[Device | None]:
    """The emulated device, set up on first use, that runs and counts such libraries; None where there is none, or the
    user wants none.

    Raises:
        DeviceError: The user wants it and nothing else, and it cannot be set up.
    """
    if not backend.emulates(target) or where.choice not in (AUTO, EMULATED):
        return nullcontext()
    from pfir.devices.emulation.emulated import EmulatedDevice

    device = EmulatedDevice(progress=progress.note, offline=where.offline)
    if where.choice == EMULATED:
        device.set_up()
    return device


def instructions(
    backend: Backend,
    models: tuple[Model, Model],
    target: Target,
    feeds: Mapping[str, np.ndarray],
    progress: Progress,
    emulated: Device | None,
) -> list[int | None]:
    """Instructions of one inference of the original, in float32, and of the result, counted on the emulated device;
    None where it cannot count."""
    if emulated is None:
        return [None, None]
    targets = (replace(target, arithmetic=FLOAT32), target)
    try:
        return [emulated.instructions(backend.build(m, t), feeds) for m, t in zip(models, targets, strict=True)]
    except BackendError as error:
        progress.note(f"instructions were not counted: {error}")
        return [None, None]


def _architecture(target: Target) -> str:
    return target.triple.partition("-")[0]


def _as_device_error(build):
    try:
        return build()
    except DeviceError:
        raise
    except BackendError as error:
        raise DeviceError(str(error)) from error
