"""What 8 to 64 processes would give: a model of the network, with what two processes measured.

    python benchmarks/training/scaling.py

Reads benchmarks/results/training_compression.json, which compression.py writes; writes training_scaling.json and .md.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.training.from_scratch import write_results  # noqa: E402
from pfir.train.distributed.compression.ecq import Quantizer  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
COUNTS = (8, 16, 32, 64)


@dataclass(frozen=True)
class Link:
    """A network between processes, as assumed.

    Args:
        bandwidth: Bytes a second of each process, both ways at once.
        latency_s: Of one message.
    """

    bandwidth: float
    latency_s: float


LINKS = {
    "gloo, 1 Gbit/s": Link(1e9 / 8, 100e-6),
    "gloo, 10 Gbit/s": Link(10e9 / 8, 50e-6),
    "gloo, 25 Gbit/s": Link(25e9 / 8, 50e-6),
    "NCCL, NVLink, 200 GB/s": Link(200e9, 10e-6),
}


def main() -> None:
    compression = json.loads((RESULTS / "training_compression.json").read_text())
    plain = compression["sides"]["none"]
    step_s = plain["step_cpu_s"] - plain["exchange_cpu_s"]
    batch = compression["batch"] // plain["processes"]
    found: dict[str, Any] = {"cpu": compression["cpu"], "batch": batch, "step_s": step_s, "links": {}}
    coding = _coding(compression["sides"])
    found["coding_s"] = coding
    for link_name, link in LINKS.items():
        found["links"][link_name] = {}
        for name, run in compression["sides"].items():
            decode_s = _decode_s(run["gradient_bytes"] // 4) if name == "ecq" else 0.0
            steps = [
                step_s + coding[name] + (n - 2) * decode_s + exchange_s(name, run["exchange_bytes"], n, link)
                for n in COUNTS
            ]
            found["links"][link_name][name] = [batch * n / s for n, s in zip(COUNTS, steps, strict=True)]
    write_results("training_scaling", found, _page)


def exchange_s(name: str, size: float, count: int, link: Link) -> float:
    """Seconds of an exchange of so many bytes a process among so many processes."""
    if name == "ecq":
        return (count - 1) * (size / link.bandwidth + link.latency_s)
    # Low-rank factors take two rounds, the second of which needs the first; vectors go with neither.
    rounds = 3 if name == "powersgd" else 1
    return 2 * (count - 1) / count * size / link.bandwidth + rounds * 2 * (count - 1) * link.latency_s


def _coding(sides: dict[str, Any]) -> dict[str, float]:
    """Seconds of the processor that coding adds to the exchange of two processes on one machine."""
    plain = sides["none"]["exchange_cpu_s"]
    return {name: max(0.0, run["exchange_cpu_s"] - plain) for name, run in sides.items()}


def _decode_s(size: int) -> float:
    """Seconds of decoding one message of ECQ: every process decodes all of them."""
    quantizer, random = Quantizer(), np.random.default_rng(0)
    content = quantizer.encoded(random.normal(size=size).astype(np.float32), random)
    times = []
    for _ in range(9):
        began = time.perf_counter()
        quantizer.decoded(content, size)
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def _page(found: dict[str, Any]) -> str:
    lines = [
        "# What many processes would give",
        "",
        f"`python benchmarks/training/scaling.py`: ResNet-20, {found['batch']} images a process, a step of",
        f"{found['step_s'] * 1e3:.0f} ms (measured: the processor's time of one thread).",
        f"On: {found['cpu']}. Networks are assumptions. Images a second, and the share of n times one process.",
        "",
        f"| network | compression | {' | '.join(f'{n} processes' for n in COUNTS)} |",
        f"|---|---|{'---|' * len(COUNTS)}",
    ]
    alone = found["batch"] / found["step_s"]
    for link, sides in found["links"].items():
        for name, speeds in sides.items():
            cells = [f"{s:.0f} ({s / alone / n:.0%})" for s, n in zip(speeds, COUNTS, strict=True)]
            lines.append(f"| {link} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
