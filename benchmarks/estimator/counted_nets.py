"""Whole nets as the emulator counts them, beside what pfir says of them without building."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.estimator.grid import target_of
from pfir.backends.tvm.backend import TvmBackend
from pfir.backends.tvm.counts.kernel import INFERENCE
from pfir.compile.prepare import BASELINE
from pfir.devices.emulation.emulated import EmulatedDevice
from pfir.frontends import load
from pfir.instructions import Instructions
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from pfir.target import Target

TARGETS = "arm", "cortex-a53", "cortex-a55", "cortex-a76", "cortex-a76+fp16"


@dataclass(frozen=True)
class CountedNet:
    """A model on a target, and what one inference executes under the emulator."""

    model: str
    target: str
    counted: Instructions


def read(path: Path) -> list[CountedNet]:
    """Those that are kept in a file; none if there is no file."""
    kept = json.loads(path.read_text()) if path.exists() else []
    return [CountedNet(row["model"], row["target"], Instructions(**row["counted"])) for row in kept]


def count(folder: Path, path: Path, nets: list[CountedNet]) -> list[CountedNet]:
    """Every model of the folder on every target; those of `nets` are not counted again. Each is kept once counted."""
    nets, known = list(nets), {(net.model, net.target) for net in nets}
    with EmulatedDevice(progress=print) as device:
        for target, model in product(TARGETS, sorted(folder.glob("*.onnx"))):
            if (model.stem, target) not in known:
                nets.append(CountedNet(model.stem, target, emulated(prepared(model), target_of(target), device)))
                path.write_text(json.dumps([asdict(net) for net in nets], indent=1) + "\n")
                print(target, model.stem, f"{nets[-1].counted.total / 1e6:.2f} million", flush=True)
    return nets


def emulated(model: Model, target: Target, device: EmulatedDevice) -> Instructions:
    """What one inference of the built model executes, on random values.

    Raises:
        DeviceError: The emulator cannot be set up, or does not count.
    """
    artifact, random = TvmBackend().build(model, target), np.random.default_rng(0)
    feeds = {s.name: random.standard_normal(s.shape).astype(s.dtype) for s in artifact.inputs}
    return device.instructions_by_class(artifact, feeds)


def told(model: Model, target: Target) -> Instructions:
    """What pfir says that one inference executes."""
    backend = TvmBackend()
    tell = backend.estimator(target).count
    return sum((tell(kernel, target) for kernel in backend.kernels(model, target)), INFERENCE)


def prepared(path: Path) -> Model:
    """The model of a file, as any compiler would simplify it."""
    return run(BASELINE, fix_sizes(load(path)), Context())[0]
