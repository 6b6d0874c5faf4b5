"""Instructions of eight-bit networks on aarch64, beside float32 and what other runtimes take.

    python benchmarks/quantization/instructions.py [--models DIR] [--only NAME ...] [--prices]

Each network is quantized by `quantize-uniform` on random inputs: its ranges do not change what is executed. Counted on
the emulated device, one thread, for a Cortex-A72 (no dot products), a Neoverse N1 (`sdot`) and a Neoverse V1
(`smmla`). The peers' figures were counted in the same way (quantization_peers.json). What instructions cost a
Cortex-A72 differs more than on the others, so that page has its estimates, too: of all layers in eight bits, and of
those that `--precision auto` would choose; --prices tells them alone.
Writes benchmarks/results/quantization_instructions.json, quantization_prices.json and quantization_instructions.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.quantization.nets import NETS, quantized, simplified  # noqa: E402
from pfir.backends.tvm.backend import TvmBackend  # noqa: E402
from pfir.compile.methods.sizing import Sizing  # noqa: E402
from pfir.compile.precision.layers import FLOATS, INTEGERS  # noqa: E402
from pfir.compile.precision.quantizing import ready_for_integers  # noqa: E402
from pfir.compile.precision.split import Prices, cheapest  # noqa: E402
from pfir.devices.emulation.emulated import EmulatedDevice  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.target import Target, parse_target  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
TARGETS = {"a72": "cortex-a72", "n1": "neoverse-n1", "v1": "neoverse-v1"}
PEERS = RESULTS / "quantization_peers.json"


def main() -> None:
    arguments = _arguments()
    counts, prices = (_known(RESULTS / f"quantization_{kind}.json") for kind in ("instructions", "prices"))
    models = {name: simplified(arguments.models / NETS[name]) for name in arguments.only or NETS}
    for name, model in models.items():
        prices[name] = _priced(model)
        print(name, {k: f"{v:.3f}" for k, v in prices[name].items()}, flush=True)
        _keep("prices", prices)
    if not arguments.prices:
        with EmulatedDevice(progress=print) as device:
            for name, model in models.items():
                counts[name] = _counted(model, device)
                print(name, {k: f"{v / 1e6:.2f}" for k, v in counts[name].items()}, flush=True)
                _keep("instructions", counts)
    page = _page(counts, json.loads(PEERS.read_text())) + _prices_page(prices)
    (RESULTS / "quantization_instructions.md").write_text(page)
    print(page)


def _known(path: Path) -> dict[str, dict]:
    return json.loads(path.read_text()) if path.exists() else {}


def _keep(kind: str, found: dict[str, dict]) -> None:
    (RESULTS / f"quantization_{kind}.json").write_text(json.dumps(found, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    shared = Path(os.environ.get("PFIR_SHARED", ROOT.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=shared / "models")
    parser.add_argument("--only", nargs="*", choices=NETS)
    parser.add_argument("--prices", action="store_true", help="only estimate, count nothing")
    return parser.parse_args()


def _counted(model: Model, device: EmulatedDevice) -> dict[str, int]:
    eight = quantized(model)
    counts = {name: _instructions(eight, parse_target(text), device) for name, text in TARGETS.items()}
    return {"float32": _instructions(model, parse_target(TARGETS["a72"]), device)} | counts


def _instructions(model: Model, target: Target, device: EmulatedDevice) -> int:
    artifact, random = TvmBackend().build(model, target), np.random.default_rng(0)
    feeds = {s.name: random.standard_normal(s.shape).astype(s.dtype) for s in artifact.inputs}
    return device.instructions(artifact, feeds)


def _priced(model: Model) -> dict[str, float]:
    """Estimated milliseconds on a Cortex-A72, and how many layers `--precision auto` leaves in float."""
    target, backend = parse_target(TARGETS["a72"]), TvmBackend()
    prices = Prices(ready_for_integers(model), Sizing(_as_it_is, backend.grouping(target)), backend.estimator(target))
    chosen = cheapest(prices)
    times = {"float32": FLOATS, "int8": INTEGERS, "auto": chosen}
    left = len(chosen.left_in_float) if chosen.integers else len(prices.layers)
    return {name: 1e3 * prices.seconds(each) for name, each in times.items()} | {
        "layers": len(prices.layers),
        "left": left,
    }


def _as_it_is(model: Model) -> Model:
    return model


def _prices_page(prices: dict[str, dict[str, float]]) -> str:
    lines = [
        "",
        "## Estimated latency on a Cortex-A72",
        "",
        "Milliseconds by the costs fitted to that core: all layers in eight bits, and those that `--precision auto`",
        "chooses.",
        "",
        "| network | float32 | all int8 | of float32 | auto | of float32 | layers left in float |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, each in prices.items():
        one, other, mixed = (each[kind] for kind in ("float32", "int8", "auto"))
        left = f"{each['left']:.0f} of {each['layers']:.0f}"
        cells = [name, f"{one:.2f}", f"{other:.2f}", f"{other / one:.2f}", f"{mixed:.2f}", f"{mixed / one:.2f}", left]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _page(found: dict[str, dict[str, int]], peers: dict[str, dict[str, float]]) -> str:
    lines = [
        "# Instructions of eight-bit networks on aarch64",
        "",
        "`python benchmarks/quantization/instructions.py`: millions per inference, one thread, emulated. The best peer",
        "is the fewest instructions that ONNX Runtime, MNN or LiteRT take in eight bits on that core.",
        "",
        "| network | float32 | A72 | of best peer | N1, `sdot` | of best peer | of float32 | V1, `smmla` | of LiteRT |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(name, counts, peers.get(name, {})) for name, counts in found.items()]
    means = [np.exp(np.mean([np.log(c[k] / c["float32"]) for c in found.values()])) for k in ("a72", "n1", "v1")]
    said = ", ".join(f"{mean:.2f} ({core})" for mean, core in zip(means, ("A72", "N1", "V1"), strict=True))
    return "\n".join([*lines, "", f"Of float32 in the geometric mean: {said}.", ""])


def _row(name: str, counts: dict[str, int], peers: dict[str, float]) -> str:
    shown = {key: value / 1e6 for key, value in counts.items()}
    cells = [
        name,
        f"{shown['float32']:.2f}",
        f"{shown['a72']:.2f}",
        _share(shown["a72"], peers, "ort a72", "litert a72"),
        f"{shown['n1']:.2f}",
        _share(shown["n1"], peers, "ort n1", "litert n1", "mnn n1"),
        f"{shown['n1'] / shown['float32']:.2f}",
        f"{shown['v1']:.2f}",
        _share(shown["v1"], peers, "litert i8mm"),
    ]
    return f"| {' | '.join(cells)} |"


def _share(ours: float, peers: dict[str, float], *names: str) -> str:
    known = [peers[name] for name in names if name in peers]
    return f"{ours / min(known):.2f}" if known else "-"


if __name__ == "__main__":
    main()
