"""Instructions of whole networks on aarch64 beside those of ONNX Runtime's own wheel, under the same emulator.

    python benchmarks/kernels/wheel.py [--target arm] [--versions 1.19.2] MODEL.onnx...

MobileNetV1 and MobileNetV2 with random weights are added. Both sides run on one thread on a Neoverse N1 of QEMU's,
whose plugin counts; the difference between runs of one length and another leaves loading and feeding out. The wheels
come from the package registry. Counts are the same on any machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.kernels.nets import MADE  # noqa: E402
from benchmarks.kernels.pages import write  # noqa: E402
from pfir.backends.tvm import TvmBackend  # noqa: E402
from pfir.compile.prepare import BASELINE, give_biases  # noqa: E402
from pfir.devices.emulation.cached import default_cache  # noqa: E402
from pfir.devices.emulation.counting import counting_emulator  # noqa: E402
from pfir.devices.emulation.emulated import EmulatedDevice  # noqa: E402
from pfir.devices.emulation.provision import Emulated, provision  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.ir.shapes import fix_sizes  # noqa: E402
from pfir.passes.base import Context  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.target import Target, parse_target  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
CPU = "neoverse-n1"
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
# In the emulated Python: a session on one thread, then as many runs as each line says.
RUNNER = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[2], options, providers=["CPUExecutionProvider"])
feeds = dict(numpy.load(sys.argv[3]))
print(onnxruntime.__version__, flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        session.run(None, feeds)
    print("ran", flush=True)
"""
LARGE = 5_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--target", default="arm")
    parser.add_argument("--versions", nargs="+", default=["1.19.2"], help="of onnxruntime")
    parser.add_argument("--out", type=Path, default=RESULTS / "kernels_wheel")
    options = parser.parse_args()
    target, made = parse_target(options.target), provision()
    nets = {path.stem: load(path) for path in options.models} | {name: make() for name, make in MADE.items()}
    found = {"target": target.name, "versions": options.versions, "rows": []}
    with tempfile.TemporaryDirectory() as folder:
        sites = {v: unpacked(v, made.python, Path(folder) / v) for v in options.versions}
        for name, model in nets.items():
            found["rows"].append(row(name, model, target, made, sites))
            write(found, page(found), options.out)


def unpacked(version: str, python: str, folder: Path) -> Path:
    """The wheel for aarch64, unpacked."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += [f"--dest={folder}", f"--python-version={python}", "--implementation=cp", f"onnxruntime=={version}"]
    subprocess.run([*command, *(f"--platform={p}" for p in PLATFORMS)], check=True)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "site")
    return folder / "site"


def row(name: str, model: Model, target: Target, made: Emulated, sites: dict[str, Path]) -> dict[str, object]:
    """Instructions of one inference by both sides."""
    baseline = run(BASELINE, fix_sizes(model), Context())[0]
    give_biases(baseline)
    random = np.random.default_rng(0)
    feeds = {s.name: random.standard_normal(s.shape).astype(s.dtype) for s in baseline.inputs()}
    with EmulatedDevice() as device:
        ours = device.instructions(TvmBackend().build(baseline, target), feeds)
    theirs = {version: wheel_instructions(baseline, feeds, made, site) for version, site in sites.items()}
    print(name, ours, theirs, flush=True)
    return {"network": name, "instructions": ours, "onnxruntime": theirs}


def wheel_instructions(model: Model, feeds: dict[str, np.ndarray], made: Emulated, site: Path) -> int:
    """Instructions of one inference by the wheel."""
    counting = counting_emulator(default_cache(), print)
    with tempfile.TemporaryDirectory() as folder, counting.counter() as (emulator, count):
        path, fed = Path(folder) / "model.onnx", Path(folder) / "feeds.npz"
        model.save(path)
        np.savez(fed, **feeds)
        command = [*made.command(CPU, emulator), "-c", RUNNER, str(site), str(path), str(fed)]
        with runner(command) as repeat:
            repeat(1)
            rough = slope(repeat, count, 2)
            return rough if rough > LARGE else slope(repeat, count, 100)


@contextmanager
def runner(command: list[str]):
    """Gives a function that lets the emulated process run its network so many times."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        said(process)

        def repeat(times: int) -> None:
            process.stdin.write(f"{times}\n")
            process.stdin.flush()
            said(process)

        yield repeat
        process.stdin.close()


def said(process: subprocess.Popen) -> None:
    if not process.stdout.readline():
        raise SystemExit(f"the emulated process ended with {process.wait()}")


def slope(repeat, count, number: int) -> int:
    """Instructions of one run, from the difference between one and 1 + number."""
    marks = [int(count()[0])]
    for runs in (1, 1 + number):
        repeat(runs)
        marks.append(int(count()[0]))
    return ((marks[2] - marks[1]) - (marks[1] - marks[0])) // number


def page(found: dict[str, object]) -> Iterator[str]:
    """The figures as Markdown."""
    versions = found["versions"]
    yield "# Instructions beside ONNX Runtime's aarch64 wheel\n"
    command = f"python benchmarks/kernels/wheel.py --versions {' '.join(versions)} MODEL.onnx..."
    yield f"`{command}`, target {found['target']}."
    yield "Millions of instructions of one inference on one thread, counted in the emulator; below 1 is fewer.\n"
    yield "| network | ours |" + "".join(f" onnxruntime {v} | ratio |" for v in versions)
    yield "|---|---|" + "---|---|" * len(versions)
    for r in found["rows"]:
        theirs = (r["onnxruntime"][v] for v in versions)
        sides = "".join(f" {t / 1e6:.2f} | {r['instructions'] / t:.3f} |" for t in theirs)
        yield f"| {r['network']} | {r['instructions'] / 1e6:.2f} |{sides}"
    ratios = {v: [r["instructions"] / r["onnxruntime"][v] for r in found["rows"]] for v in versions}
    yield "| geometric mean | |" + "".join(f" | {np.exp(np.mean(np.log(ratios[v]))):.3f} |" for v in versions)


if __name__ == "__main__":
    main()
