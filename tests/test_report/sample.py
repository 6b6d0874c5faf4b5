"""A finished run as the report gets it, for the tests of this room."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pfir.measurement import ESTIMATED, Measurement
from pfir.report import Epoch, Kept, Layer, RunRecord, Side, Stage, Trial, Verification, Width
from pfir.target import Core, Target

# What others rely on, in the report and in each of its two sides.
PROMISED = {
    "pfir",
    "model",
    "target",
    "met",
    "speedup",
    "accuracy_drop",
    "fidelity_data",
    "baseline",
    "result",
    "passes",
    "search",
    "stages",
    "verification",
}
VERIFICATION = {
    "device",
    "against",
    "max_abs_error",
    "max_rel_error",
    "tolerance",
    "passed",
    "skipped",
    "samples",
    "top1_agreement",
    "not_verified_on",
    "reason",
    "near_zero",
    "differing",
}
SIDE = {
    "latency_s",
    "latency_source",
    "host_latency_s",
    "instructions",
    "accuracy",
    "fidelity",
    "macs",
    "parameters",
    "size_bytes",
    "peak_activation_bytes",
}
A72 = Core("cortex-a72", 8, 1.5e9, 4e9, 16, 32, 32768, 1 << 20, "Arm Cortex-A72 Software Optimization Guide")
TARGET = Target("arm", "aarch64-linux-gnu", A72)


def latency(seconds: float) -> Measurement:
    return Measurement(seconds, ESTIMATED, "counted instructions for cortex-a72", spread=0.25)


def finished(layers: int = 19, **changes) -> RunRecord:
    """A run at 2.53x whose numbers hang together."""
    rng = np.random.default_rng(0)
    before = 16 * 2 ** (3 * np.arange(layers) // layers)
    after = np.maximum(4, (before * rng.uniform(0.2, 0.9, layers) // 4 * 4)).astype(int)
    times = 0.0124 * rng.uniform(0.35, 0.9, 60)
    scores = np.clip(1 - 0.5 * np.exp(-times * 250) - rng.uniform(0, 0.25, 60), 0, 1)
    chosen = int(np.argmax(scores * (times < 0.006)))
    run = RunRecord(
        version="0.1.0",
        model={"name": "resnet56", "file": "resnet56.onnx"},
        target=TARGET,
        backend="tvm",
        goal="--speedup 2.5",
        goals={"speedup": 2.5},
        met=True,
        baseline=Side(latency(0.0124), 125_490_000, 853_018, 3_438_948, 131_072, 0.9339, 1.0, 0.0081, 61_000_000),
        result=Side(latency(0.0049), 47_100_000, 341_200, 1_380_000, 98_304, 0.9312, 0.972, 0.0033, 24_100_000),
        verification=Verification("emulated aarch64", True, "onnxruntime", 1.1e-5, 2.3e-6, 1e-3),
        passes=("remove-dead-channels", "prune-channels{ratios=layer1.0.conv1:0.5 align=4}"),
        stages=(
            Stage("load", 0.4),
            Stage("search", 95.0),
            Stage("fine-tune", 310.2),
            Stage("build", 21.5),
            Stage("verify", 8.8),
        ),
        search_seconds=95.0,
        trials=tuple(Trial(t, s, i == chosen) for i, (t, s) in enumerate(zip(times, scores, strict=True))),
        widths=tuple(
            Width(f"/layer{1 + i // 6}/layer{1 + i // 6}.{i % 6}/conv1/Conv", int(b), int(a))
            for i, (b, a) in enumerate(zip(before, after, strict=True))
        ),
        layers=tuple(
            Layer(f"/layer{i}/Conv", "conv3x3", 0.0124 * share, None if i == 3 else 0.0049 * share)
            for i, share in enumerate(np.arange(layers, 0, -1) / sum(range(layers + 1)))
        ),
        kept=(Kept("/linear/Gemm", "its output is the model's output logits"),),
        training=tuple(
            Epoch(i / 4, 1.1 * np.exp(-i / 9) + 0.2 + 0.02 * np.sin(i), {"agreement": 0.97 - 0.3 * np.exp(-i / 6)})
            for i in range(40)
        ),
        command="pfir compile resnet56.onnx --target arm --speedup 2.5 --data train.npz -o out",
        recipe={"trials": 60, "epochs": 10, "optimizer": "sgd"},
        versions={"onnx": "1.20.0", "tvm": "0.27.0"},
    )
    return replace(run, **changes)
