"""File sizes of three networks, float32 and in eight bits: as they are, by gzip, by zstd, packed; and unpacking.

    PYTHONPATH=. python benchmarks/sizes/pack.py [NET ..]

Writes benchmarks/results/sizes_pack.json and its table sizes_pack.md. Networks are those of `$PFIR_SHARED/models`.
Eight bits are `quantize-uniform` on the simplified network, ranges by generated inputs: sizes, not accuracies, are the
subject. Unpacking is in CPU seconds of one thread, the best of several, per byte of the float32 weights that the file
stands for; each file is compared with what was packed.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zstandard

from benchmarks.quantization.nets import quantized, simplified
from pfir.ir.costs.model_cost import model_cost
from pfir.ir.model import Model
from pfir.packing.packing import pack_model
from pfir.packing.unpacking import unpack

MODELS = Path(os.environ["PFIR_SHARED"]) / "models"
RESULTS = Path(__file__).resolve().parents[1] / "results"
NETS = {
    "ResNet-56": "resnet56_cifar10_fp32.onnx",
    "EfficientNet-Lite0": "efficientnet_lite0_in1k_fp32_static.onnx",
    "keyword net": "mltk_keyword_spotting_fp32.onnx",
}
REPEATS = 7
HEAD = """\
# File sizes

By `PYTHONPATH=. python benchmarks/sizes/pack.py`: bytes, and how many times smaller than the float32 file as it was
given. Eight bits are `quantize-uniform` with ranges of generated inputs. Unpacking is in MB of float32 weights a CPU
second of one thread, the best of 7 beside other work; every file came back to the byte. The figures are in
`sizes_pack.json`.

| network | model | bytes | gzip -9 | zstd -19 | packed | packing, CPU s | unpacking, MB/s |
|---|---|---:|---:|---:|---:|---:|---:|
"""


@dataclass(frozen=True)
class Row:
    """A model's sizes.

    Args:
        float_bytes: Of its weights in float32.
        whole: Bytes of the given float32 file.
    """

    net: str
    way: str
    whole: int
    dense: int
    gzip: int
    zstd: int
    packed: int
    pack_s: float
    unpack_s: float
    float_bytes: int

    def line(self) -> str:
        """A row of the table."""
        sizes = (f"{n:,} ({self.whole / n:.2f}x)" for n in (self.dense, self.gzip, self.zstd, self.packed))
        speed = f"{self.pack_s:.1f} | {self.float_bytes / self.unpack_s / 1e6:,.0f}"
        return f"| {self.net} | {self.way} | {' | '.join(sizes)} | {speed} |\n"


def main() -> None:
    for net in sys.argv[1:] or NETS:
        content = (MODELS / NETS[net]).read_bytes()
        plain = simplified(MODELS / NETS[net])
        _keep(_measured(net, "float32", len(content), content, _float_bytes(plain)))
        _keep(_measured(net, "int8", len(content), quantized(plain).to_bytes(), _float_bytes(plain)))


def _keep(row: Row) -> None:
    """Add a row to the results, as soon as it is measured, in place of the one that was there."""
    path = RESULTS / "sizes_pack.json"
    found = [Row(**each) for each in json.loads(path.read_text())] if path.exists() else []
    rows = [*(each for each in found if (each.net, each.way) != (row.net, row.way)), row]
    rows.sort(key=lambda each: (list(NETS).index(each.net), each.way))
    path.write_text(json.dumps([vars(each) for each in rows], indent=1) + "\n")
    (RESULTS / "sizes_pack.md").write_text(HEAD + "".join(each.line() for each in rows))
    print(row.line(), end="", flush=True)


def _float_bytes(model: Model) -> int:
    return 4 * model_cost(model).parameters


def _measured(net: str, way: str, whole: int, content: bytes, float_bytes: int) -> Row:
    begin = time.process_time()
    packed = pack_model(content)
    pack_s = time.process_time() - begin
    squeezed = len(gzip.compress(content, 9)), len(zstandard.ZstdCompressor(level=19).compress(content))
    unpack_s = float(np.min([_unpacking_s(packed, content) for _ in range(REPEATS)]))
    return Row(net, way, whole, len(content), *squeezed, len(packed), pack_s, unpack_s, float_bytes)


def _unpacking_s(packed: bytes, content: bytes) -> float:
    begin = time.process_time()
    ((_, found),) = unpack(packed)
    seconds = time.process_time() - begin
    if found != content:
        raise SystemExit("a model did not come back as it was")
    return seconds


if __name__ == "__main__":
    main()
