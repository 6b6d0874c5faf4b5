"""What a compilation did, as plain records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pfir.artifact import LinkedConstants, Tuning
from pfir.errors import UsageError
from pfir.measurement import Measurement
from pfir.report.weights import Files, Weights
from pfir.target import Target


@dataclass(frozen=True)
class Side:
    """The original or the result, in numbers.

    Args:
        latency: Of one inference on the target, measured or estimated.
        macs, parameters, size_bytes, peak_activation_bytes: What the model costs.
        accuracy: Top-1 share in [0, 1] on held-out data; None without labels.
        fidelity: Agreement with the original in [0, 1].
        host_latency_s: The same model on this machine by the same backend, one thread.
        instructions: Executed for one inference, counted on the emulated device.
    """

    latency: Measurement
    macs: int
    parameters: int
    size_bytes: int
    peak_activation_bytes: int
    accuracy: float | None = None
    fidelity: float | None = None
    host_latency_s: float | None = None
    instructions: int | None = None


@dataclass(frozen=True)
class Library:
    """The library of the result.

    Args:
        size_bytes: Of its file.
        constants: How it holds them.
        host_load_s: Until the library of the same model for this machine was ready to run here; None where that was
            not measured.
    """

    size_bytes: int
    constants: LinkedConstants
    host_load_s: float | None = None


@dataclass(frozen=True)
class Stage:
    """A part of the run and how long it took."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Verification:
    """How the compiled library compares with a reference run of the same compressed model.

    Args:
        device: `emulated aarch64`, `host`, or the device's name.
        passed: None where there is nothing to compare, as ONNX Runtime itself runs the result.
        max_abs_error, max_rel_error, tolerance: None where it was skipped.
        skipped: Why nothing was verified; None if it was.
        samples: How many were compared, extremes among them.
        top1_agreement: Share of them with the same best class; None where it was skipped or nothing is classified.
        not_verified_on: What the library is for, where that could not be set up, so that a library of the same model
            for this machine was compared; None where the library itself was.
        reason: Why it could not be set up.
        near_zero: Outputs that never exceed what may be an error, so that nothing was found out about them.
        differing: Share of the runs of a library of integers in which roundings fell otherwise than ONNX Runtime's.
    """

    device: str
    passed: bool | None
    against: str = "onnxruntime"
    max_abs_error: float | None = None
    max_rel_error: float | None = None
    tolerance: float | None = None
    skipped: str | None = None
    samples: int = 0
    top1_agreement: float | None = None
    not_verified_on: str | None = None
    reason: str | None = None
    near_zero: tuple[str, ...] = ()
    differing: float | None = None


@dataclass(frozen=True)
class Width:
    """Channels of one group before and after."""

    group: str
    before: int
    after: int


@dataclass(frozen=True)
class Layer:
    """A kernel of the network: its estimated latency in the original and in the result, None where it is not there;
    what it computes in there, None where that is not known."""

    name: str
    family: str
    before_s: float | None
    after_s: float | None
    arithmetic: str | None = None


@dataclass(frozen=True)
class Alone:
    """What one way to make the network cheaper would have given without the other.

    Args:
        way: `int8`, all layers in eight bits that can be; `channels`, nothing but channels removed; or the average bits
            of codebooks, with the share of weights that are zero.
        speedup: By estimate.
        size: How many times smaller.
        fidelity: To the original, untrained; None where that was not found out.
        meets: Whether the goals of speed and size are met so.
    """

    way: str
    speedup: float
    size: float
    fidelity: float | None
    meets: bool


@dataclass(frozen=True)
class Kept:
    """Channels that had to stay: the node that fixes them and the reason."""

    node: str
    reason: str


@dataclass(frozen=True)
class Trial:
    """One candidate of the search.

    Args:
        latency_s: Estimated for the target.
        score: In [0, 1].
        chosen: Whether it became the result.
        macs, size_bytes: What it costs.
        divergence: From the original; candidates are ranked by it.
    """

    latency_s: float
    score: float
    chosen: bool = False
    macs: int | None = None
    size_bytes: int | None = None
    divergence: float | None = None


@dataclass(frozen=True)
class Finalist:
    """A candidate of the search that was trained briefly, beside others, to choose the one for the long training.

    Args:
        place: Its place in the search, from 1.
        untrained: Its divergence from the original before the short training, on samples kept back.
        divergence, fidelity: Of the original, after it.
        steps: Of the short training.
        chosen: Whether it went on.
    """

    place: int
    untrained: float
    divergence: float
    fidelity: float
    steps: int
    chosen: bool = False


@dataclass(frozen=True)
class Epoch:
    """A point of the training curve.

    Args:
        epoch: From 1.
        loss: Mean over the samples that were trained on.
        metrics: Further curves by name.
        held_back_loss: The divergence from the original on samples held back; None where it was not measured.
        held_back_accuracy: Top-1 share in [0, 1] on these; None without labels.
        held_back_fidelity: Agreement with the original on these, in [0, 1]; None where the accuracy is known.
    """

    epoch: float
    loss: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    held_back_loss: float | None = None
    held_back_accuracy: float | None = None
    held_back_fidelity: float | None = None


@dataclass(frozen=True)
class RunRecord:
    """A finished compilation.

    Args:
        model: At least `name`; whatever else identifies the file.
        goal: As the user wrote it: `--speedup 2.5`.
        goals: The same as numbers by name: speedup, latency_s, size, macs, max_drop.
        fidelity_data: `given` or `generated`.
        score: What the trials' score means.
        passes: Texts of the passes, in order.
        recipe: The parameters that were chosen, for the reader.
        alone: What each way alone would have given; empty where that was not asked.
        finalists: Candidates that a short training compared; empty where the best of the search was trained at once.
        tuning: Which kernels of the library are as was measured; None where there was no choice.
        files: How large the files are; None where none was written.
        weights: What the weights of layers are kept as.
        library: The result's; None where the backend does not tell how it holds constants.
        notes: What a user should know, one sentence each.
    """

    version: str
    model: Mapping[str, object]
    target: Target
    backend: str
    goal: str
    met: bool
    baseline: Side
    result: Side
    verification: Verification
    goals: Mapping[str, float] = field(default_factory=dict)
    fidelity_data: str = "given"
    score: str = "fidelity"
    passes: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    search_seconds: float = 0.0
    trials: tuple[Trial, ...] = ()
    widths: tuple[Width, ...] = ()
    alone: tuple[Alone, ...] = ()
    layers: tuple[Layer, ...] = ()
    kept: tuple[Kept, ...] = ()
    training: tuple[Epoch, ...] = ()
    finalists: tuple[Finalist, ...] = ()
    notes: tuple[str, ...] = ()
    command: str = ""
    recipe: Mapping[str, object] = field(default_factory=dict)
    tuning: Tuning | None = None
    files: Files | None = None
    weights: Weights = Weights()
    library: Library | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.fidelity_data not in ("given", "generated"):
            raise UsageError(f"fidelity data is given or generated, not {self.fidelity_data}")


def precisions(layers: Sequence[Layer]) -> dict[str, int]:
    """How many kernels of the result compute in what."""
    return dict(Counter(layer.arithmetic for layer in layers if layer.arithmetic and layer.after_s is not None))
