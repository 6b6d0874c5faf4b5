"""The command line as a user meets it: what it refuses, and how."""

import errno
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pfir import cli
from pfir.errors import UsageError
from pfir.frontends import load
from pfir.system import installation
from tests.support.jobs import images, run, short_runs, small_net, write_data, write_model
from tests.support.net import Net

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.fixture(scope="module", autouse=True)
def runs_are_short():
    with short_runs():
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Good and bad files, made once."""
    place = tmp_path_factory.mktemp("files")
    write_model(place)
    write_data(place)
    write_model(place, small_net(seed=7), "other.onnx")
    _bad_models(place)
    _bad_data(place)
    run(place / "net.onnx", place / "done")
    shutil.copy(place / "done" / "recipe.json", place / "alone.json")
    (place / "garbage.json").write_text('{"format": 1}')
    (place / "list.json").write_text("[]")
    (place / "deep.json").write_text("[" * 100_000)
    return place


def _bad_models(place):
    whole = (place / "net.onnx").read_bytes()
    (place / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    (place / "empty.onnx").write_bytes(b"")
    (place / "text.onnx").write_text("not a model\n" * 20)
    (place / "page.onnx").write_text("<!DOCTYPE html><html></html>")
    (place / "lfs.onnx").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n")
    (place / "zip.onnx").write_bytes(b"PK\x03\x04" + bytes(100))
    (place / "torch.onnx").write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")
    (place / "folder").mkdir()
    proto = onnx.load(place / "net.onnx")
    proto.graph.node[0].op_type = "Convolve"
    onnx.save(proto, place / "unknown_op.onnx")
    proto = onnx.load(place / "net.onnx")
    proto.graph.node[3].input[0] = "nowhere"
    onnx.save(proto, place / "dangling.onnx")
    proto = onnx.load(place / "net.onnx")
    weights = onnx.numpy_helper.to_array(proto.graph.initializer[0]).copy()
    weights.flat[0] = np.nan
    proto.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, proto.graph.initializer[0].name))
    onnx.save(proto, place / "nan.onnx")
    net = Net(0)
    write_model(place, net.model((net.op("Relu", net.input("N", 4)),)), "nothing.onnx")
    net = Net(0)
    write_model(place, net.model((net.head(net.conv(net.input("N", 3, "H", "W"), 3, 8), 8),)), "dynamic.onnx")
    out = [helper.make_tensor_value_info("s", TensorProto.STRING, ["N"])]
    node = helper.make_node("Identity", ["t"], ["s"])
    strings = helper.make_graph([node], "g", [helper.make_tensor_value_info("t", TensorProto.STRING, ["N"])], out)
    onnx.save(
        helper.make_model(strings, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), place / "strings.onnx"
    )
    net = Net(0)
    x = net.relu(net.conv(net.input("N", 3, 8, 8), 3, 8))
    x = net.op("Flatten", net.op("RoiAlign", x, net.const([[0, 0, 4, 4]], np.float32), net.ints(0)))
    write_model(place, net.model((net.op("NonZero", x),)), "lacking.onnx")


def _bad_data(place):
    x, y = images(20), np.arange(20) % 5
    np.savez(place / "labels.npz", x=x, y=y + 1)
    np.savez(place / "few_labels.npz", x=x, y=y[:-1])
    np.savez(place / "onehot.npz", x=x, y=np.eye(5)[y])
    np.savez(place / "names.npz", x=x, y=np.array(["cat"] * 20))
    np.savez(place / "objects.npz", x=np.array([None, 1], object))
    np.savez(place / "shape.npz", x=x[:, :2], y=y)
    np.savez(place / "nan.npz", x=np.where(np.arange(20)[:, None, None, None] == 7, np.nan, x), y=y)
    np.savez(place / "none.npz", x=x[:0], y=y[:0])
    np.savez(place / "one.npz", x=x[:1], y=y[:1])
    np.savez(place / "two.npz", x=x[:2], y=y[:2])
    np.savez(place / "bytes.npz", x=np.zeros((20, 16, 16, 3), np.uint8), y=y)
    np.savez(place / "bare.npz", x=x)
    np.save(place / "single.npy", x)
    (place / "text.npz").write_text("x,y\n1,2\n")
    (place / "pickle.npz").write_bytes(b"\x80\x04K\x01.")
    (place / "images").mkdir()


ARM = "compile {f}/net.onnx --target arm --speedup 2 --backend ort --trials 2 --epochs 0 -o {o}"


def _arm(model="net", **options):
    given = "".join(f" --{k.replace('_', '-')} {v}" for k, v in options.items())
    return ARM.replace("net.onnx", f"{model}.onnx") + given


BAD = {
    "no such command": ("compress {f}/net.onnx", 2, "compress"),
    "a model without a command": ("{f}/net.onnx --target arm", 2, "pfir compile {f}/net.onnx"),
    "no recipe and no goal": ("compile {f}/net.onnx --target arm --recipe {f}/missing.json", 2, "missing"),
    "MACs in percent and above all": (_arm(macs="150%"), 2, "(0, 1)"),
    "a size in percent": (_arm(size="50%"), 2, "--size '50%'"),
    "a comma in a number": (_arm().replace("--speedup 2", "--speedup 2,5"), 2, "is it 2.5?"),
    "a value that is missing": ("compile {f}/net.onnx --target arm --speedup", 2, "pfir compile --help"),
    "a number in words": (_arm(trials="many"), 2, "a whole number is expected"),
    "preprocessing without data": (_arm(preprocess="imagenet"), 2, "give it with --data"),
    "a shape without a name": (_arm(input_shape="1x3x16x16"), 2, "names no input"),
    "a field in other brackets": (_arm(passes="prune-channels(ratio=0.5)"), 2, "braces"),
    "a field with a slip": (_arm(passes="prune-channels{{rato=0.5}}"), 2, "did you mean ratio?"),
    "a model of PyTorch": (_arm("torch"), 3, "PyTorch"),
    "opt with preprocessing alone": (
        "opt {f}/net.onnx --passes simplify -o {o}.onnx --preprocess imagenet",
        2,
        "--data",
    ),
    "tune for a board without one": ("tune {f}/net.onnx --target rpi4", 2, "rpc://HOST:PORT"),
    "unpack of what is not packed": ("unpack {f}/net.onnx -o {o}.onnx", 3, "no packed model"),
    "pack of what is no model": ("pack {f}/data.npz -o {o}.pfir", 3, "zip archive"),
    "pack without an output": ("pack {f}/net.onnx", 2, "as in `pfir pack model.onnx -o model.pfir`"),
    "no such option": ("compile {f}/net.onnx --tarjet arm", 2, "--tarjet"),
    "no model": ("compile", 2, "'model', as in `pfir compile model.onnx"),
    "no target": ("compile {f}/net.onnx --speedup 2", 2, "--target"),
    "no goal": ("compile {f}/net.onnx --target arm -o {o}", 2, "--speedup 2.5"),
    "three goals": (_arm(macs=0.5, size=2), 2, "3 goals"),
    "a goal in words": (_arm().replace("--speedup 2", "--speedup fast"), 2, "fast"),
    "a speed-up that slows down": (_arm().replace("--speedup 2", "--speedup 0.5"), 2, "above 1"),
    "an endless speed-up": (_arm().replace("--speedup 2", "--speedup inf"), 2, "finite"),
    "a latency without unit": (_arm(latency=8), 2, "8ms"),
    "a latency of nothing": (_arm(latency="0ms"), 2, "above 0"),
    "a share above one": (_arm(macs=1.5), 2, "(0, 1)"),
    "a share that is no number": (_arm(macs="half"), 2, "--macs"),
    "a negative drop": (_arm(max_drop=-1, data="{f}/data.npz"), 2, "percentage points"),
    "a drop without data": (_arm(max_drop=1), 2, "--data"),
    "a drop without labels": (_arm(max_drop=1, data="{f}/bare.npz"), 3, "labels"),
    "accuracy without labels": (_arm(metric="accuracy", data="{f}/bare.npz"), 3, "labels"),
    "a metric that is not known": (_arm(metric="f1"), 2, "f1"),
    "a target that is not known": (_arm().replace("--target arm", "--target amr"), 2, "did you mean arm"),
    "a core that is not known": (_arm().replace("--target arm", "--target arm:cortex-a7000"), 2, "cortex-a7000"),
    "a backend that is not known": (_arm(backend="gcc"), 2, "gcc"),
    "a device that is not known": (_arm(device="phone"), 2, "phone"),
    "a device of other libraries": (_arm(device="rpc://127.0.0.1:1"), 2, "--backend ort"),
    "a device of another machine": (_arm(device="host"), 2, "--target host"),
    "a device that does not answer": (
        _arm(device="rpc://127.0.0.1:1").replace("--backend ort", "--backend tvm"),
        5,
        "127.0.0.1",
    ),
    "a recipe without its weights": (_arm(recipe="{f}/alone.json"), 2, "weights.npz"),
    "no trials": (_arm(trials=0), 2, "--trials"),
    "a way to train that is not known": (_arm(train="rate=1"), 2, "--train 'rate=1' is not known"),
    "a way to train without training": (_arm(train="lr=1"), 2, "--epochs 0 means no training"),
    "negative epochs": (_arm(epochs=-1), 2, "--epochs"),
    "no batch": (_arm(batch=0), 2, "--batch"),
    "a negative seed": (_arm(seed=-1), 2, "--seed"),
    "a time in words": (_arm(time_budget="soon"), 2, "soon"),
    "force and resume": (ARM + " --force --resume", 2, "--force"),
    "retrain without recipe": (ARM + " --retrain", 2, "--recipe"),
    "validation without data": (_arm(validation="{f}/data.npz"), 2, "--data"),
    "a shape in words": (_arm(input_shape="in0=big"), 2, "in0=big"),
    "a shape of another input": (_arm(input_shape="image=1x3x16x16"), 2, "image"),
    "a shape that contradicts the model": (_arm(input_shape="in0=1x4x16x16"), 2, "in0"),
    "a size that nobody knows": (_arm("dynamic"), 2, "--input-shape"),
    "passes that are none": (_arm(passes="prune"), 2, "prune"),
    "passes cut off": (_arm(passes="prune-channels{{ratio=0.5"), 2, "passes"),
    "a field that is none": (_arm(passes="prune-channels{{share=0.5}}"), 2, "share"),
    "a ratio above one": (_arm(passes="prune-channels{{ratio=1.5}}"), 2, "1.5"),
    "a group that is none": (_arm(passes="prune-channels{{ratios=Conv_99:0.5}}"), 2, "Conv_99"),
    "pruning that is not last": (_arm(passes="prune-channels{{ratio=0.5}},simplify"), 2, "last"),
    "a node to keep that is none": (_arm(keep="Conv_99"), 2, "Conv_99"),
    "an only node that is none": (_arm(only="Conv_99"), 2, "Conv_99"),
    "a missing model": (_arm("missing"), 3, "missing.onnx"),
    "a folder as model": (_arm().replace("net.onnx", "folder"), 3, "folder"),
    "an empty model": (_arm("empty"), 3, "empty"),
    "a model cut off": (_arm("cut"), 3, "cut.onnx"),
    "text as model": (_arm("text"), 3, "text.onnx"),
    "a page as model": (_arm("page"), 3, "HTML"),
    "a git-lfs pointer": (_arm("lfs"), 3, "git-lfs"),
    "an archive as model": (_arm("zip"), 3, "zip.onnx"),
    "an operator that does not exist": (_arm("unknown_op"), 3, "Convolve"),
    "an edge from nowhere": (_arm("dangling"), 3, "nowhere"),
    "a weight that is no number": (_arm("nan"), 3, "nan"),
    "a model of strings": (_arm("strings"), 3, "string"),
    "a model without channels": (_arm("nothing"), 4, "no channel"),
    "an operator that the backend lacks": (_arm("lacking").replace("--backend ort", "--backend tvm"), 3, "NonZero"),
    "data that is missing": (_arm(data="{f}/missing.npz"), 3, "missing.npz"),
    "text as data": (_arm(data="{f}/text.npz"), 3, "text.npz"),
    "a pickle as data": (_arm(data="{f}/pickle.npz"), 3, "pickle"),
    "a single array as data": (_arm(data="{f}/single.npy"), 3, "numpy.savez"),
    "a folder without images": (_arm(data="{f}/images"), 3, "images"),
    "labels outside the classes": (_arm(data="{f}/labels.npz"), 3, "5 classes"),
    "validation labels outside": (_arm(data="{f}/data.npz", validation="{f}/labels.npz"), 3, "labels.npz"),
    "labels of another count": (_arm(data="{f}/few_labels.npz"), 3, "19 labels"),
    "labels as one-hot rows": (_arm(data="{f}/onehot.npz"), 3, "one-hot"),
    "labels in words": (_arm(data="{f}/names.npz"), 3, "class indices"),
    "objects as data": (_arm(data="{f}/objects.npz"), 3, "objects.npz"),
    "data of another shape": (_arm(data="{f}/shape.npz"), 3, "shape.npz"),
    "data that is no number": (_arm(data="{f}/nan.npz"), 3, "7"),
    "no samples": (_arm(data="{f}/none.npz"), 3, "none.npz"),
    "two samples for everything": (_arm(data="{f}/two.npz", macs=0.0001), 4, "at most"),
    "one sample": (_arm(data="{f}/one.npz"), 3, "at least 2"),
    "bytes without preprocessing": (_arm(data="{f}/bytes.npz"), 3, "--preprocess"),
    "preprocessing in words": (_arm(data="{f}/bytes.npz", preprocess="nicely"), 2, "nicely"),
    "a module that is none": (_arm(data="no_module_of_mine:load"), 3, "no_module_of_mine"),
    "a recipe that is missing": (_arm(recipe="{f}/missing.json"), 2, "missing.json"),
    "a recipe that is none": (_arm(recipe="{f}/garbage.json"), 2, "garbage.json"),
    "a recipe that is a list": (_arm(recipe="{f}/list.json"), 2, "list.json"),
    "a recipe nested without end": (_arm(recipe="{f}/deep.json"), 2, "deep.json"),
    "a recipe that is a folder": (_arm(recipe="{f}"), 2, "directory"),
    "a recipe of another model": (_arm("other", recipe="{f}/done/recipe.json"), 2, "another model"),
    "a goal out of reach": (_arm().replace("--speedup 2", "--speedup 500"), 4, "at most"),
    "a size out of reach": (_arm(size=5000).replace("--speedup 2 ", ""), 4, "at most"),
    "MACs out of reach": (_arm(passes="prune-channels{{macs=0.00001}}"), 4, "allow"),
    "a file as output": (_arm().replace("{o}", "{f}/net.onnx"), 2, "name a folder"),
    "a folder in a file": (_arm().replace("{o}", "{f}/net.onnx/out"), 2, "cannot be written"),
    "a folder in use": (_arm().replace("{o}", "{f}/done"), 2, "--force"),
    "a depfile that cannot be": (_arm(depfile="{f}/no/dep.d"), 2, "dep.d"),
    "opt of nothing": ("opt {f}/missing.onnx --passes simplify -o {o}.onnx", 3, "missing.onnx"),
    "opt without passes": ("opt {f}/net.onnx -o {o}.onnx", 2, "--passes"),
    "opt without a field": ("opt {f}/net.onnx --passes prune-channels -o {o}.onnx", 2, "ratio"),
    "opt that wants data": (
        "opt {f}/net.onnx --passes prune-channels{{ratio=0.5+reconstruct=true}} -o {o}.onnx",
        2,
        "--data",
    ),
    "opt into nowhere": ("opt {f}/net.onnx --passes simplify -o {o}/no/out.onnx", 2, "out.onnx"),
    "opt onto a folder": ("opt {f}/net.onnx --passes simplify -o {f}/folder", 2, "folder"),
    "inspect of text": ("inspect {f}/text.onnx", 3, "text.onnx"),
    "inspect of a stranger": ("inspect {f}/net.onnx --keep Conv_99", 2, "Conv_99"),
    "evaluate of nothing": ("evaluate {f}/net.onnx --data {f}/missing.npz", 3, "missing.npz"),
    "evaluate with strange labels": ("evaluate {f}/net.onnx --data {f}/labels.npz", 3, "5 classes"),
    "evaluate without data": ("evaluate {f}/net.onnx", 2, "--data"),
    "evaluate by no model": ("evaluate {f}/net.onnx --data {f}/data.npz --reference {f}/text.onnx", 3, "text.onnx"),
    "evaluate on no threads": ("evaluate {f}/net.onnx --data {f}/data.npz --jobs 0", 2, "--jobs"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_clear_line_and_leaves_nothing(case, files, tmp_path, monkeypatch, capfd):
    text, code, word = BAD[case]
    before = _listing(files)
    words = [w.format(f=files, o=tmp_path / "out").replace("+", " ") for w in text.split()]
    assert _main(monkeypatch, words) == code, capfd.readouterr().err
    out, err = capfd.readouterr()
    lines = [line for line in err.splitlines() if not line.startswith(("[", "  "))]  # stages and notes of a run
    assert out == ""
    assert len(lines) == 1 and lines[0].startswith("pfir: "), err
    assert word.format(f=files) in lines[0]
    assert "a fault of pfir" not in lines[0] and "Traceback" not in err
    assert list(tmp_path.iterdir()) == []
    assert _listing(files) == before


def test_the_reference_of_the_command_line_is_up_to_date():
    spec = importlib.util.spec_from_file_location("generate_cli", DOCS / "generate_cli.py")
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    assert (DOCS / "cli.md").read_text() == page.text(), "run `python docs/generate_cli.py`"


@pytest.mark.parametrize("words", [[], ["--help"], ["compile", "--help"], ["--version"], ["targets"], ["passes"]])
def test_what_needs_no_model_answers_on_stdout(words, monkeypatch, capfd):
    assert _main(monkeypatch, words) == 0
    out, err = capfd.readouterr()
    assert out.strip() and err == ""


def test_the_version_names_what_results_depend_on(monkeypatch, capfd):
    assert _main(monkeypatch, ["--version"]) == 0
    said = capfd.readouterr().out
    assert said.count("\n") == 1 and said.startswith("pfir ")
    assert all(name in said for name in ("Python 3", "onnx 1", "onnxruntime", "apache-tvm 0", "numpy "))


def test_a_shell_completes_commands():
    asked = {"_PFIR_COMPLETE": "complete_bash", "COMP_WORDS": "pfir comp", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", "from pfir.cli import main; main()"],
        cwd=DOCS.parent,
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["compile"]


def test_lines_to_copy_stand_below_the_message(files, monkeypatch, capfd):
    assert _main(monkeypatch, ["inspect", str(files / "torch.onnx")]) == 3
    message, *export = capfd.readouterr().err.splitlines()
    assert message.endswith(":") and len(export) == 2 and all(line.startswith("    ") for line in export)
    assert "torch.onnx.export" in export[1]


def test_help_imports_nothing_heavy():
    heavy = "tvm", "onnxruntime", "nevergrad", "onnx", "numpy", "rich.progress"
    check = f"import sys, pfir.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_command_that_needs_onnxruntime_tells_how_it_is_installed_before_it_works(files, monkeypatch, capfd):
    monkeypatch.setattr(installation, "check_onnxruntime", lambda: "two of them")
    assert _main(monkeypatch, ["inspect", str(files / "net.onnx")]) == 0
    assert capfd.readouterr().err == "note: two of them\n"
    assert _main(monkeypatch, ["targets"]) == 0 and capfd.readouterr().err == ""

    def broken():
        raise UsageError("files are missing")

    monkeypatch.setattr(installation, "check_onnxruntime", broken)
    assert _main(monkeypatch, ["inspect", str(files / "net.onnx")]) == 2
    assert capfd.readouterr().err == "pfir: files are missing\n"


def test_what_a_killed_run_left_is_removed_at_the_next_start(files, monkeypatch, capfd, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / "pfir-scratch-x1"
    left.mkdir()
    for name in ("lock", "unpacked.npy"):
        (left / name).touch()
    assert _main(monkeypatch, ["inspect", str(files / "net.onnx")]) == 0
    assert not left.exists()


def test_compile_says_last_what_was_reached_and_where(files, tmp_path, monkeypatch, capfd):
    assert _main(monkeypatch, _words(ARM, files, tmp_path)) == 0
    out, _ = capfd.readouterr()
    last = out.strip().splitlines()[-1]
    assert "x faster" in last and str(tmp_path / "out") in last


def test_with_json_stdout_is_the_report_and_nothing_else(files, tmp_path, monkeypatch, capfd):
    assert _main(monkeypatch, _words(ARM + " --json", files, tmp_path)) == 0
    assert json.loads(capfd.readouterr().out) == json.loads((tmp_path / "out/report.json").read_text())


def test_a_goal_that_is_missed_gives_code_4_and_everything_is_written(files, tmp_path, monkeypatch, capfd):
    text = _arm(passes="prune-channels{{ratio=0.1}}")
    assert _main(monkeypatch, _words(text, files, tmp_path)) == 4
    assert "goal not met" in capfd.readouterr().out.strip().splitlines()[-1]
    assert (tmp_path / "out/model.onnx").exists() and (tmp_path / "out/report.html").exists()


def test_a_depfile_names_what_was_read(files, tmp_path, monkeypatch):
    text = _arm(data="{f}/data.npz", depfile="{o}.d")
    assert _main(monkeypatch, _words(text, files, tmp_path)) == 0
    rule = (tmp_path / "out.d").read_text()
    assert rule == f"{tmp_path}/out/manifest.json: {files}/net.onnx {files}/data.npz\n"


def test_inspect_gives_the_groups_as_json(files, tmp_path, monkeypatch, capfd):
    assert _main(monkeypatch, ["inspect", str(files / "net.onnx"), "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert [g["name"] for g in found["groups"] if not g["pins"]] == ["Conv_1", "Conv_4", "Conv_7"]


def test_evaluate_gives_accuracy_and_fidelity(files, tmp_path, monkeypatch, capfd):
    words = ["evaluate", str(files / "net.onnx"), "--data", str(files / "data.npz"), "--json"]
    assert _main(monkeypatch, [*words, "--reference", str(files / "net.onnx")]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["accuracy"], found["fidelity"], found["samples"]) == (1.0, 1.0, 96)


def test_opt_writes_a_model_with_the_same_interface(files, tmp_path, monkeypatch, capfd):
    words = ["opt", str(files / "net.onnx"), "--passes", "simplify,prune-channels{ratio=0.5}", "-o"]
    assert _main(monkeypatch, [*words, str(tmp_path / "small.onnx")]) == 0
    before, after = load(files / "net.onnx"), load(tmp_path / "small.onnx")
    assert after.inputs() == before.inputs() and after.outputs() == before.outputs()


def test_a_reader_that_goes_away_is_no_fault(files):
    command = f"{sys.executable} -c 'from pfir.cli import main; main()' inspect {files / 'net.onnx'} | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "fault" not in done.stderr


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (MemoryError(), "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (ImportError("libx.so: failed to map segment from shared object"), "out of memory"),
        (RuntimeError("std::bad_alloc"), "out of memory"),
        (RuntimeError("can't start new thread"), "out of memory"),
        (RecursionError("deep"), "a fault of pfir: RecursionError: deep"),
    ],
)
def test_any_other_fault_is_one_line_too(error, word, files, monkeypatch, capfd):
    def fault(*_):
        raise error

    monkeypatch.setattr("pfir.commands.inspect.inspect_model", fault)
    assert _main(monkeypatch, ["inspect", str(files / "net.onnx")]) == 1
    err = capfd.readouterr().err
    assert word in err and err.count("\n") == 1 and "Traceback" not in err


def _words(text, files, tmp_path):
    return [w.format(f=files, o=tmp_path / "out") for w in text.split()]


def _main(monkeypatch, words):
    monkeypatch.setattr(sys, "argv", ["pfir", *words])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code or 0


def _listing(place):
    return sorted((str(p), p.stat().st_size) for p in place.rglob("*"))
