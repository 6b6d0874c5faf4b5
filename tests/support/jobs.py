"""A small job for `pfir compile`: a net of three convolutions on 16x16 images, and data that it labels itself."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from pfir.compile import flow
from pfir.compile.calibration import matched_inputs, samples
from pfir.compile.flow import compile_model
from pfir.compile.measuring import latency as building
from pfir.compile.outcome import Outcome
from pfir.compile.request import Goals, Request
from pfir.devices import host
from pfir.ir.model import Model
from pfir.report.progress import Silent
from pfir.run import trial, trial_main
from pfir.run.session import Session
from tests.support.net import Net

CLASSES = 5


def small_net(seed: int = 0) -> Model:
    """Three convolutions, two with BatchNorm, and a classifier; any batch of [3, 16, 16]."""
    net = Net(seed)
    x = net.relu(net.norm(net.conv(net.input("N", 3, 16, 16), 3, 16, bias=False), 16))
    x = net.relu(net.norm(net.conv(x, 16, 24, bias=False, strides=[2, 2]), 24))
    x = net.relu(net.conv(x, 24, 32))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return net.model((net.dense(x, 32, CLASSES),))


def pinned_net() -> Model:
    """One layer of 30,720 weights, all of whose channels are the output's, so that none may go."""
    net = Net(0)
    return net.model((net.dense(net.op("Flatten", net.input("N", 3, 16, 16)), 768, 40),))


def images(count: int = 96, seed: int = 1) -> np.ndarray:
    """float32 [count, 3, 16, 16]: each of its own brightness and contrast, so that a random net tells them apart."""
    rng = np.random.default_rng(seed)
    scale, shift = rng.uniform(0.2, 3, (2, count, 3, 1, 1))
    return (rng.standard_normal((count, 3, 16, 16)) * scale + (shift - 1.5) * 2).astype(np.float32)


def write_model(folder: Path, model: Model | None = None, name: str = "net.onnx") -> Path:
    """The model, else the small net, as a file."""
    path = folder / name
    (model or small_net()).save(path)
    return path


def write_data(folder: Path, model: Model | None = None, count: int = 96, name: str = "data.npz") -> Path:
    """Images with the classes that the model gives them, so that it is right on all of them."""
    path, x = folder / name, images(count)
    answers = next(iter(Session(model or small_net()).predict({"in0": x}).values()))
    np.savez(path, x=x, y=answers.argmax(1))
    return path


@contextmanager
def short_runs():
    """Runs measure little, generate few inputs, and match them in few steps.

    How fast this machine is does not matter to most of them; test_latency and test_end_to_end measure it. How near
    inputs come matters to test_matched_inputs alone.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(samples, "MOST_CALIBRATION", samples.LEAST_SCORING)
        patch.setattr(samples, "MOST_SCORING", samples.LEAST_SCORING)
        patch.setattr(samples, "MOST_GENERATED", 2 * samples.LEAST_GENERATED)
        patch.setattr(matched_inputs, "MOST", matched_inputs.LEAST)
        patch.setattr(matched_inputs, "STEPS", 3)
        patch.setattr(flow, "host_latency", lambda *_: building.HostLatency(None, None))
        patch.setattr(building, "ROUNDS", 1)
        patch.setattr(host, "REPEATS", 3)
        patch.setattr(host, "MIN_REPEAT_S", 0.001)
        yield


def request(model: Path, output: Path, **options) -> Request:
    """Twice as fast, all in float32, four trials, no training, on ONNX Runtime; each option replaces one of these."""
    goals = options.pop("goals", Goals(speedup=2.0))
    defaults = {"target": "arm", "backend": "ort", "trials": 4, "epochs": 0, "jobs": 1, "precision": "float32"}
    return Request(model=model, output=output, goals=goals, **{**defaults, **options})


def run(model: Path, output: Path, **options) -> Outcome:
    """Such a job, done."""
    with trials_here():
        return compile_model(request(model, output, **options), Silent())


@contextmanager
def trials_here():
    """ONNX Runtime tries models in this process: those of these tests are harmless."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "trial", _trial_here)
        yield


def _trial_here(data: bytes | Path, run: bool = False) -> trial.Trial:
    """What `trial` says of a model, found out without another process."""
    try:
        session = trial_main.opened(data if isinstance(data, bytes) else str(data))
    except Exception as fault:
        return trial.Trial(str(fault))
    if run:
        trial_main.run_once(session)
    return trial.Trial(None)
