"""How near the instructions that pfir tells of whole nets in eight bits come to those that the emulator counts.

    PYTHONPATH=. python benchmarks/estimator/int8_nets.py [--only NET ..]

Nets are quantized on random inputs (benchmarks/quantization/nets.py); takes a minute a net. Writes
benchmarks/results/estimator_int8_nets.md.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from benchmarks.estimator.counted_nets import emulated, told
from benchmarks.estimator.grid import target_of
from benchmarks.quantization.nets import NETS, quantized, simplified
from pfir.devices.emulation.emulated import EmulatedDevice

RESULTS = Path(__file__).resolve().parents[1] / "results"
MODELS = Path(os.environ.get("PFIR_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "models"
CORES = "cortex-a72", "cortex-a76", "neoverse-v1"
SMALL = "keyword", "visual wake words", "MLPerf-Tiny resnet-8", "resnet20", "resnet56"
HEAD = """\
# Whole nets in eight bits: instructions told and counted

By `PYTHONPATH=. python benchmarks/estimator/int8_nets.py`, in millions for one inference on emulated aarch64.

| net | core | counted | told | error |
|---|---|---:|---:|---:|
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=NETS, default=SMALL)
    page = HEAD
    with EmulatedDevice(progress=print) as device:
        for net in parser.parse_args().only:
            model = quantized(simplified(MODELS / NETS[net]))
            for core in CORES:
                target = target_of(core)
                found = emulated(model, target, device).total, told(model, target).total
                page += f"| {net} | {core} | {found[0] / 1e6:.3f} | {found[1] / 1e6:.3f} "
                page += f"| {100 * (found[1] / found[0] - 1):+.1f} % |\n"
                (RESULTS / "estimator_int8_nets.md").write_text(page)


if __name__ == "__main__":
    main()
