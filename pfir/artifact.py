"""What a backend delivers: a library for a target with what is needed to run and to cost it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pfir.target import Target
from pfir.workload import Tail, Workload

SLOW_KERNELS = "slow_kernels"
"""The note that names nodes which the backend computes by code it does not tune."""
SLOW_NAME = "op_"
"""How the names of kernels begin in a library that are such code."""


@dataclass(frozen=True)
class TensorSpec:
    """A tensor at the border of a model: its name, NumPy dtype name, and shape (None or a string where dynamic)."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


def whole_inputs(inputs: Sequence[TensorSpec]) -> frozenset[str]:
    """The inputs that hold no samples along a first axis, such as a rate or a state [layers, N, F].

    The first axis of the first input that has axes is that of the samples; where another one has a fixed size instead
    of it, the input is one for all samples of a run.
    """
    sizes = [t.shape[0] for t in inputs if t.shape]
    fixed = {t.name for t in inputs if t.shape and isinstance(t.shape[0], int) and t.shape[0] != sizes[0]}
    return frozenset(fixed | {t.name for t in inputs if not t.shape})


@dataclass(frozen=True)
class Kernel:
    """One unit of work on the device, by which latency is looked up.

    Args:
        name: The node (or the first of the fused nodes) that it computes.
        family: conv, conv3x3 (neither stride nor dilation nor groups), depthwise, grouped, dense, matmul, pool, reduce,
            elementwise or move.
        macs: Multiply-accumulates of one run.
        read_bytes: Weights and activations read, each counted once.
        written_bytes: Activations written.
        weight_bytes: Of the bytes read, those of weights.
        workload: What it computes, at its sizes.
        tail: What it does to its results before it stores them.
    """

    name: str
    family: str
    macs: int
    read_bytes: int
    written_bytes: int
    weight_bytes: int
    workload: Workload
    tail: Tail = Tail()


@dataclass(frozen=True)
class Database:
    """A file of measured kernels.

    Args:
        name: Of the file, or `shipped`.
        sha256: Of its content.
        kernels: How many were taken from it.
    """

    name: str
    sha256: str
    kernels: int


@dataclass(frozen=True)
class Tuning:
    """Which kernels of a library are computed as was measured, rather than as the model of the core says.

    Args:
        core: What was measured, as a database names it.
        kernels: Different ones among whose ways there is a choice.
        databases: Those that a measured way was taken from.
        choices: A digest of all that was taken; libraries of equal ones are equal.
    """

    core: str
    kernels: int
    databases: tuple[Database, ...]
    choices: str


@dataclass(frozen=True)
class LinkedConstants:
    """How a library holds its constants.

    Args:
        read_bytes: Of what the runtime reads, constants as kernels take them.
        linked_bytes: Of what stands for that in the library.
        load_instructions: What makes the one of the other each time that the library is loaded, by 64-bit Arm code.
        load_s: That this takes on the core of the target, estimated.
    """

    read_bytes: int
    linked_bytes: int
    load_instructions: int = 0
    load_s: float = 0.0


@dataclass(frozen=True)
class Artifact:
    """A compiled model.

    Args:
        backend: Who built it: tvm or ort.
        target: What it runs on.
        files: File name to content: the library, and what its loader needs.
        library: The name within `files` of what a device loads.
        inputs, outputs: Its interface, every size fixed.
        kernels: Its kernels in order of execution.
        notes: What a reader may want to know of it, by name; `SLOW_KERNELS` is one.
        tuning: Which kernels were measured; None where that was not asked, or there is no choice.
        constants: How the library holds them; None where that is not known.
    """

    backend: str
    target: Target
    files: Mapping[str, bytes]
    library: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    kernels: tuple[Kernel, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)
    tuning: Tuning | None = None
    constants: LinkedConstants | None = None
