"""The README's job in small: a trained net, real images, TVM, the emulated device where there is one."""

import json
from pathlib import Path

import numpy as np

from pfir.compile import flow
from pfir.compile.measuring import latency as building
from pfir.compile.request import Goals
from pfir.frontends import load
from tests.support.jobs import run

PREPROCESS = "scale=1/255,mean=0.485:0.456:0.406,std=0.229:0.224:0.225"
EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def test_a_trained_net_is_compiled_for_arm_and_verified(tmp_path, monkeypatch):
    monkeypatch.setattr(flow, "host_latency", building.host_latency)
    options = {"backend": "tvm", "preprocess": PREPROCESS, "trials": 2, "epochs": 1, "goals": Goals(speedup=1.5)}
    done = run(EXAMPLES / "small_net.onnx", tmp_path / "out", data=_few_images(tmp_path), **options)
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert done.met and report["result"]["accuracy"] > 0.6
    library = (tmp_path / "out/model.so").read_bytes()
    assert library[:4] == b"\x7fELF" and library[18:20] == b"\xb7\x00", "an ELF file for aarch64"
    verified = report["verification"]
    assert verified["passed"] and verified["max_rel_error"] <= verified["tolerance"]
    assert verified["device"] in ("emulated aarch64", "host")
    if verified["device"] == "emulated aarch64":
        assert report["baseline"]["instructions"] > report["result"]["instructions"] > 0
    assert report["baseline"]["host_latency_s"] > 0
    before, after = load(EXAMPLES / "small_net.onnx"), load(tmp_path / "out/model.onnx")
    assert after.inputs() == before.inputs() and after.outputs() == before.outputs()


def _few_images(folder: Path) -> str:
    with np.load(EXAMPLES / "cifar10_slice.npz") as file:
        np.savez(folder / "few.npz", x=file["x"][:300], y=file["y"][:300])
    return str(folder / "few.npz")
