"""`--precision float16`: what a run says of it, replays and refuses; an emulated device, if any, is left aside."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pfir import cli
from pfir.backends.tvm import TvmBackend
from pfir.commands import bench as benching
from pfir.commands.bench import Bench, bench, lines
from pfir.compile.measuring.latency import host_latency
from pfir.compile.prepare import BASELINE
from pfir.compile.request import Goals
from pfir.devices import host
from pfir.devices.emulation.emulated import EmulatedDevice
from pfir.errors import DeviceError, UsageError, VerifyError
from pfir.ir.shapes import fix_sizes
from pfir.passes.base import Context
from pfir.passes.pipeline import run as run_passes
from pfir.report.terminal import last_line
from pfir.target import FLOAT16, parse_target, with_arithmetic
from tests.support.jobs import run, small_net, write_model

SAID = "fp16 arithmetic; inputs and outputs float32"
CORE = {"backend": "tvm", "target": "arm:cortex-a76"}


@pytest.fixture(scope="module", autouse=True)
def no_emulator():
    """Then this machine verifies, by code that rounds to float16 after each operation."""

    def missing(_):
        raise DeviceError("no emulator in these tests")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmulatedDevice, "set_up", missing)
        yield


@pytest.fixture(scope="module")
def half(place, model, data):
    return run(model, place / "half", data=data, goals=Goals(speedup=1.5), precision="float16", **CORE).folder


def test_every_record_of_a_run_names_the_arithmetic(half):
    report = json.loads((half / "report.json").read_text())
    assert report["arithmetic"] == SAID and report["target"]["arithmetic"] == FLOAT16.name
    assert any("The floats of the result are float16" in note for note in report["notes"])
    assert json.loads((half / "recipe.json").read_text())["arithmetic"] == FLOAT16.name
    assert json.loads((half / "manifest.json").read_text())["arithmetic"] == SAID
    assert SAID in (half / "report.html").read_text()


def test_without_an_emulator_the_last_line_says_what_was_not_verified(half):
    report = json.loads((half / "report.json").read_text())
    check = report["verification"]
    assert check["passed"] and (check["not_verified_on"], check["reason"]) == ("aarch64", "no emulator in these tests")
    assert "verified on host, not verified on aarch64: out/" in last_line(report, "out/")


def test_the_original_is_costed_in_float32_so_that_float16_counts_as_speed(half):
    report = json.loads((half / "report.json").read_text())
    assert "fp16 arithmetic" in report["result"]["latency_detail"]
    assert "fp16 arithmetic" not in report["baseline"]["latency_detail"]
    backend, target = TvmBackend(), parse_target(CORE["target"])
    folded, _ = run_passes(BASELINE, small_net(), Context())
    full = backend.estimator(target).estimate(backend.kernels(fix_sizes(folded), target)).seconds
    assert report["baseline"]["latency_s"] == pytest.approx(full)


def test_the_library_is_verified_on_several_samples_by_error_and_by_answers(half):
    check = json.loads((half / "report.json").read_text())["verification"]
    assert check["passed"] and check["samples"] > 1 and check["tolerance"] == 5e-2
    assert 1e-5 < check["max_rel_error"] < 5e-2 and 0 <= check["top1_agreement"] <= 1


def test_a_recipe_holds_the_arithmetic(half, model, tmp_path):
    done = run(model, tmp_path / "out", recipe=half / "recipe.json", goals=Goals(speedup=1.5), **CORE)
    assert done.report["arithmetic"] == SAID
    for name in ("model.onnx", "model.so"):
        assert (tmp_path / "out" / name).read_bytes() == (half / name).read_bytes()


@pytest.mark.parametrize(("options", "word"), [({"backend": "ort"}, "--backend tvm"), ({"target": "arm"}, "neoverse")])
def test_a_recipe_that_cannot_be_followed_is_refused(half, model, tmp_path, options, word):
    with pytest.raises(UsageError, match=word):
        run(model, tmp_path / "out", recipe=half / "recipe.json", **{**CORE, **options})


def test_a_recipe_of_an_unknown_arithmetic_is_refused_as_no_recipe(half, model, tmp_path):
    content = json.loads((half / "recipe.json").read_text())
    (tmp_path / "recipe.json").write_text(json.dumps({**content, "arithmetic": "float8"}))
    with pytest.raises(UsageError, match="not a recipe"):
        run(model, tmp_path / "out", recipe=tmp_path / "recipe.json", **CORE)


@pytest.mark.parametrize(
    "words",
    [
        "compile {m} --target arm --speedup 2 --precision float16 -o {o}",
        "compile {m} --target armv7 --speedup 2 --precision float16 -o {o}",
        "bench {m} --target x86-64 --device rpc://nowhere:9090 --precision float16",
    ],
)
def test_targets_without_float16_are_refused_in_one_line_with_the_cores_that_have_it(
    words, model, tmp_path, monkeypatch, capfd
):
    monkeypatch.setattr("sys.argv", ["pfir", *words.format(m=model, o=tmp_path / "out").split()])
    with pytest.raises(SystemExit) as left:
        cli.main()
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("pfir: ")]
    assert left.value.code == 2 and "cortex-a55, cortex-a76" in line and "apple-m1" in line
    assert not (tmp_path / "out").exists()


def test_activations_beyond_float16_are_caught_and_nothing_is_delivered(tmp_path):
    net = small_net()
    scale = next(node for node in net.nodes() if node.op == "BatchNormalization").inputs[1]
    net.set_arrays({scale.name: scale.values * np.float32(1e5)})
    with pytest.raises(VerifyError, match="65504.*compile with --precision float32"):
        run(write_model(tmp_path, net), tmp_path / "out", passes="simplify", precision="float16", **CORE)
    assert not (tmp_path / "out").exists()


def test_a_machine_without_float16_is_measured_in_float32_and_says_so(monkeypatch):
    monkeypatch.setattr(host, "MIN_REPEAT_S", 0.001)
    net = fix_sizes(small_net())
    found = host_latency(TvmBackend(), net, net, FLOAT16)
    assert found.baseline_s > 0
    has = parse_target("host").triple.startswith("aarch64")
    assert has or "no fp16 arithmetic" in found.note


@pytest.fixture
def here(monkeypatch):
    """This machine, as if it had the arithmetic."""
    monkeypatch.setattr(benching, "with_arithmetic", lambda target, arithmetic: replace(target, arithmetic=arithmetic))
    monkeypatch.setattr(benching, "ROUNDS", 1)
    monkeypatch.setattr(host, "MIN_REPEAT_S", 0.001)


def test_bench_names_the_arithmetic(here, model):
    found = bench(Bench((model,), precision="float16"))
    assert found["models"][0]["arithmetic"] == SAID and SAID in lines(found)[0]
    assert bench(Bench((model,)))["models"][0]["arithmetic"] == "float32 arithmetic"


def test_bench_knows_what_the_library_of_a_folder_computes_in(here, half, tmp_path):
    entry = benching._entry(half, Bench((half,), "rpc://pi:9090", "arm:cortex-a76"))
    assert entry.artifact.target == with_arithmetic(parse_target("arm:cortex-a76"), FLOAT16) and not entry.notes
    report = json.loads((half / "report.json").read_text())
    del report["target"]["arithmetic"]
    (tmp_path / "report.json").write_text(json.dumps(report))
    for name in ("model.onnx", "model.so"):
        (tmp_path / name).write_bytes((half / name).read_bytes())
    entry = benching._entry(tmp_path, Bench((tmp_path,), "rpc://pi:9090", "arm:cortex-a76", precision="float16"))
    assert "computes in float32" in entry.notes[0] and entry.artifact.target.arithmetic == FLOAT16
