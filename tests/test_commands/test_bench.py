"""`pfir bench`: what it measures, what it says beside it, and what it refuses. How fast anything is, no test asks."""

from __future__ import annotations

import json
import shutil
import stat
import sys

import onnx
import pytest

from pfir import cli
from pfir.artifact import LinkedConstants
from pfir.backends.tvm import backend
from pfir.backends.tvm.library import store
from pfir.commands import bench as module
from pfir.commands.bench import Bench, bench, lines
from pfir.devices import host
from pfir.errors import DeviceError, FrontendError, UsageError
from pfir.frontends import load
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.run import rival
from tests.support.jobs import small_net


@pytest.fixture(autouse=True)
def shortly(monkeypatch):
    monkeypatch.setattr(module, "ROUNDS", 2)
    monkeypatch.setattr(host, "MIN_REPEAT_S", 0.001)
    monkeypatch.setattr(rival, "SECONDS", 0.001)


def _written(folder, model, target: str, cpu: str, library: bytes | None = None):
    """A folder as `pfir compile` leaves it, as far as bench reads it."""
    folder.mkdir()
    shutil.copy(model, folder / "model.onnx")
    (folder / "report.json").write_text(json.dumps({"target": {"name": target, "cpu": cpu}}))
    if library is not None:
        (folder / "model.so").write_bytes(library)
    return folder


def _interpreter(path, body: str) -> str:
    """A program that stands for another Python."""
    path.write_text(f"#!{sys.executable}\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_both_sides_are_measured_on_the_same_model(model):
    (row,) = bench(Bench((model,), vs="onnxruntime", batch=2))["models"]
    assert row["source"] == "measured" and row["threads"] == 1 and row["repeats"] >= 30 and row["spread"] >= 0
    assert row["vs"]["name"] == "onnxruntime" and row["vs"]["version"].count(".") >= 2
    assert row["ratio"] == pytest.approx(row["latency_s"] / row["vs"]["latency_s"])


def test_the_other_side_runs_the_folded_model_whose_constants_are_no_inputs(tmp_path, monkeypatch):
    proto = small_net().to_proto()
    for tensor in proto.graph.initializer:
        proto.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    path = tmp_path / "net.onnx"
    onnx.save(proto, path)
    timed = []

    def run(command, threads, timeout_s):
        timed.append(onnx.load(next(word for word in command if word.endswith("model.onnx"))))
        return '{"version": "9.9", "seconds": [0.5]}'

    monkeypatch.setattr(rival, "_run", run)
    found = bench(Bench((path,), vs="onnxruntime"))
    for given in timed:
        assert [value.name for value in given.graph.input] == ["in0"]
        assert "BatchNormalization" not in {node.op_type for node in given.graph.node}
        onnx.checker.check_model(given)
    assert timed and module.FOLDED in lines(found)[-1]


def test_old_files_lose_their_inputs_for_the_other_side_too():
    proto = small_net().to_proto()
    proto.ir_version = 3
    given = rival.with_constants(Model.from_proto(proto))
    assert len(given.graph.input) == 1 and given.ir_version == 4


def test_the_batch_is_the_model_s_own(model, tmp_path):
    fix_sizes(load(model), 3).save(tmp_path / "three.onnx")
    built = [module._built(path, load(path), Bench((path,))) for path in (model, tmp_path / "three.onnx")]
    assert [entry.artifact.inputs[0].shape[0] for entry in built] == [1, 3]


def test_a_damaged_library_of_the_cache_is_said(model, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_folder", lambda: tmp_path)
    monkeypatch.setattr(backend, "build_compact", lambda *_: (b"library", LinkedConstants(0, 0)))
    assert module._entry(model, Bench((model,))).notes == ()
    (path,) = tmp_path.glob("*.so")
    path.write_bytes(b"damaged")
    assert "damaged; it is built anew" in module._entry(model, Bench((model,))).notes[0]


def test_the_command_prints_the_json_of_the_design_and_nothing_else(model, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["pfir", "bench", str(model), "--json"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert not left.value.code
    (row,) = json.loads(capsys.readouterr().out)["models"]
    assert {"model", "latency_s", "spread", "repeats", "threads", "source"} <= row.keys()
    assert "vs" not in row and "ratio" not in row
    assert {"core", "kernels", "databases", "choices"} == row["tuned"].keys()


def test_a_build_by_no_measured_kernels_says_so(model):
    assert lines(bench(Bench((model,), tuned="none")))[0].endswith("none of 4 kernels tuned")


def test_the_other_side_is_the_interpreter_that_was_named(model, tmp_path):
    python = _interpreter(tmp_path / "python", 'print(\'{"version": "9.9", "seconds": [0.5, 0.5]}\')')
    found = bench(Bench((model,), vs="onnxruntime", vs_python=python))
    assert found["models"][0]["vs"] == {"name": "onnxruntime", "version": "9.9", "latency_s": 0.5}
    assert "onnxruntime 9.9 500.000 ms" in lines(found)[0]


def test_the_library_of_a_folder_is_what_is_measured(model, tmp_path):
    built = module._built(model, load(model), Bench((model,))).artifact
    folder = _written(tmp_path / "out", model, "host", built.target.cpu, built.files["model.so"])
    entry = module._entry(folder, Bench((folder,)))
    assert entry.artifact.files["model.so"] == built.files["model.so"] and not entry.notes
    assert bench(Bench((folder,)))["models"][0]["notes"] == []


@pytest.mark.parametrize(
    ("target", "cpu", "library", "why"),
    [
        ("arm", "generic", b"arm", "for arm, not for this machine"),
        ("host", "z80", b"other", "another processor, z80"),
        ("arm", "generic", None, "holds no model.so"),
    ],
)
def test_what_does_not_run_here_is_built_for_this_machine_and_said(model, tmp_path, target, cpu, library, why):
    folder = _written(tmp_path / "out", model, target, cpu, library)
    entry = module._entry(folder, Bench((folder,)))
    assert why in entry.notes[0] and "built for host" in entry.notes[0]
    assert entry.artifact.target.triple == module.parse_target("host").triple


@pytest.mark.parametrize(("batch", "kept"), [(None, True), (4, True), (2, False)])
def test_a_folder_is_measured_at_the_sizes_of_its_library(model, tmp_path, monkeypatch, batch, kept):
    folder = _written(tmp_path / "out", model, "host", module.parse_target("host").cpu, b"for four")
    (folder / "manifest.json").write_text('{"inputs": {"in0": [4, 3, 16, 16]}}')
    monkeypatch.setattr(module, "_built", lambda path, model, asked: module.Entry(path, None, model, None))
    entry = module._entry(folder, Bench((folder,), batch=batch))
    if kept:
        assert entry.artifact.files["model.so"] == b"for four" and entry.artifact.inputs[0].shape[0] == 4
    else:
        assert "inputs of other sizes" in entry.notes[0]


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"inputs": 3}', '{"inputs": {"x": 3}}'])
def test_a_manifest_that_does_not_tell_sizes_leaves_the_model_s_own(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    assert module._own_sizes(tmp_path) == {}


def test_a_library_for_another_number_of_threads_is_built_anew(model, tmp_path):
    cpu = module.parse_target("host").cpu
    folder = _written(tmp_path / "out", model, "host", cpu, b"one thread")
    entry = module._entry(folder, Bench((folder,), threads=2))
    assert "for 1 thread(s)" in entry.notes[0] and entry.artifact.target.threads == 2


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"paths": ()}, "nothing to measure"),
        ({"device": "emulated"}, "yields no latency"),
        ({"vs": "ncnn"}, "--vs ncnn is not known"),
        ({"vs": "onnxruntime", "device": "rpc://pi:9090"}, "on this machine"),
        ({"vs_python": "python3"}, "goes with --vs onnxruntime"),
        ({"target": "armv7"}, "does not run on this machine"),
        ({"threads": 0}, "--threads is 0"),
        ({"batch": 0}, "--batch is 0"),
    ],
)
def test_options_that_contradict_each_other_are_refused(model, options, why):
    with pytest.raises(UsageError, match=why):
        Bench(**{"paths": (model,), **options})


@pytest.mark.parametrize("content", [None, "{", "[]", '{"target": 3}'])
def test_a_folder_that_compile_did_not_finish_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(UsageError, match="no folder of a finished pfir compile"):
        bench(Bench((tmp_path,)))


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"no model")
    with pytest.raises(FrontendError):
        bench(Bench((tmp_path / "net.onnx",)))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("raise SystemExit('no module named onnxruntime')", "no module named onnxruntime"),
        ("raise SystemExit(3)", "exit code 3"),
        ("print('hello')", "no JSON of seconds"),
        ("import time; time.sleep(30)", "no answer within 1 s"),
    ],
)
def test_an_interpreter_that_cannot_time_it_is_a_device_error(model, tmp_path, body, why):
    with pytest.raises(DeviceError, match=why):
        rival.time_onnxruntime(fix_sizes(load(model)), 1, _interpreter(tmp_path / "python", body), timeout_s=1)


def test_an_interpreter_that_is_none_is_a_device_error(model, tmp_path):
    with pytest.raises(DeviceError, match="cannot be timed"):
        rival.time_onnxruntime(fix_sizes(load(model)), 1, str(tmp_path / "nowhere"))
