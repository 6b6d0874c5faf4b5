"""The emulated aarch64 device: set-up, right answers, wrong libraries; skipped with the reason where it cannot be."""

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from pfir.artifact import Artifact, TensorSpec
from pfir.devices.emulation import emulated
from pfir.devices.emulation.cached import damage, default_cache, made_once
from pfir.devices.emulation.emulated import EmulatedDevice
from pfir.devices.emulation.provision import Emulated, provision
from pfir.errors import DeviceError, RunError
from pfir.instructions import CLASSES
from pfir.target import parse_target
from tests.support.kernels import of_macs

SHAPE, WEIGHT = (1, 3, 8, 8), (5, 3, 3, 3)


def conv_relu(target_text: str, folder) -> Artifact:
    """A convolution and a relu as TVM compiles them by itself, for a target."""
    tvm = pytest.importorskip("tvm")
    from tvm import relax, topi

    from pfir.backends.tvm.library.link import linker

    target = parse_target(target_text)
    x = relax.Var("x", relax.TensorType(SHAPE, "float32"))
    w = relax.Var("w", relax.TensorType(WEIGHT, "float32"))
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w]):
        with builder.dataflow():
            y = builder.emit_te(topi.nn.conv2d, x, w, 1, 1, 1)
            z = builder.emit_output(relax.Tuple([builder.emit_te(topi.nn.relu, y)]))
        builder.emit_func_output(z)
    llvm = tvm.target.Target({"kind": "llvm", "mtriple": target.triple, "mcpu": target.cpu})
    built = relax.build(builder.get(), llvm)
    path = folder / "net.so"
    built.export_library(str(path), fcompile=linker(target.triple))
    inputs = (TensorSpec("x", "float32", SHAPE), TensorSpec("w", "float32", WEIGHT))
    output = TensorSpec("y", "float32", (1, 5, 8, 8))
    return Artifact("tvm", target, {"net.so": path.read_bytes()}, "net.so", inputs, (output,))


def feeds() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    return {n: generator.standard_normal(s).astype(np.float32) for n, s in (("x", SHAPE), ("w", WEIGHT))}


def expected(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3))
    return np.maximum(np.einsum("nchwij,ocij->nohw", windows.astype(np.float64), w), 0)


@pytest.fixture(scope="module")
def device():
    with EmulatedDevice() as device:
        try:
            device.set_up()
        except DeviceError as error:
            pytest.skip(f"no emulated device here: {error}")
        yield device


def test_a_library_for_arm_computes_under_emulation_what_numpy_computes(device, tmp_path):
    found = device.run(conv_relu("arm", tmp_path), feeds())
    assert list(found) == ["y"] and found["y"].dtype == np.float32
    np.testing.assert_allclose(found["y"], expected(**feeds()), rtol=1e-5, atol=1e-5)


def test_code_for_another_core_is_found_out(device, tmp_path):
    artifact = conv_relu("arm:neoverse-v1", tmp_path)
    wrong = Artifact("tvm", parse_target("arm"), artifact.files, "net.so", artifact.inputs, artifact.outputs)
    with pytest.raises(RunError, match="illegal instruction; the library was built for another CPU"):
        device.run(wrong, feeds())


def test_the_instructions_of_one_inference_are_counted(device, tmp_path):
    found = device.instructions(conv_relu("arm", tmp_path), feeds())
    if found is None:
        pytest.skip("no emulator here counts instructions")
    # At least one for four multiply-accumulates; a plain loop takes a few for each, the runtime some hundred in all.
    macs = 5 * 64 * 27
    assert macs / 4 < found < 10 * macs


class Processes:
    """Stands for what starts processes under emulation: remembers the commands, and counts what they run."""

    def __init__(self, monkeypatch, counts=True):
        self.commands, self.runs, self.counts = [], 0, counts
        monkeypatch.setattr(emulated, "provision", lambda *_: self)
        monkeypatch.setattr(emulated, "damage", lambda folder, thorough: None)
        monkeypatch.setattr(emulated, "counting_emulator", self._counting)
        monkeypatch.setattr(emulated, "Worker", self._worker)

    folder = None

    def command(self, cpu, emulator):
        return (*(emulator or ("plain",)), cpu)

    @contextmanager
    def counter(self):
        yield ("counting",), lambda: np.full(1 + len(CLASSES), 1000 * self.runs)

    def connect(self, timeout_s):
        if not self.counts and self.commands[-1][0] == "counting":
            raise DeviceError("it has no plugins")

    def run(self, artifact, inputs):
        return inputs

    def repeat(self, artifact, inputs, number):
        self.runs += number

    def close(self):
        pass

    def _counting(self, cache, progress, offline):
        if self.counts is None:
            raise DeviceError("no network")
        return self

    def _worker(self, name, command):
        self.commands.append(command[:2])
        return self


def identity(library: bytes) -> Artifact:
    spec = TensorSpec("x", "float32", SHAPE)
    return Artifact("tvm", parse_target("arm"), {"net.so": library}, "net.so", (spec,), (spec,))


def test_one_process_runs_and_counts_every_library(monkeypatch):
    started, x = Processes(monkeypatch), {"x": feeds()["x"]}
    with EmulatedDevice() as device:
        assert list(device.run(identity(b"a"), x)) == ["x"]
        assert [device.instructions(identity(library), x) for library in (b"a", b"b")] == [1000, 1000]
    assert started.commands == [("counting", "cortex-a53")]


@pytest.mark.parametrize(("counts", "why"), [(None, "no network"), (False, "it has no plugins")])
def test_where_nothing_counts_a_plain_emulator_runs_libraries(monkeypatch, counts, why):
    started, x, said = Processes(monkeypatch, counts), {"x": feeds()["x"]}, []
    with EmulatedDevice(progress=said.append) as device:
        assert list(device.run(identity(b"a"), x)) == ["x"] and device.instructions(identity(b"a"), x) is None
    assert started.commands[-1] == ("plain", "cortex-a53") and said == [f"instructions are not counted: {why}"]


def test_what_multiplies_more_may_take_longer(monkeypatch):
    started, x = Processes(monkeypatch), {"x": feeds()["x"]}
    limits = []
    with EmulatedDevice() as device:
        for macs in (0, 10**9):
            device.run(replace(identity(b"a"), kernels=(of_macs(macs),)), x)
            limits.append(started.timeout_s)
    assert limits == [300, 1300]


def test_a_set_up_that_failed_is_not_tried_again(monkeypatch):
    tried = []

    def missing(*_):
        tried.append(1)
        raise DeviceError("no network")

    monkeypatch.setattr(emulated, "provision", missing)
    with EmulatedDevice() as device:
        for ask in (device.run, device.instructions, device.run):
            with pytest.raises(DeviceError, match="no network"):
                ask(identity(b"a"), {"x": feeds()["x"]})
    assert len(tried) == 1


def test_the_second_set_up_is_the_first(device):
    lines = []
    assert provision(progress=lines.append) == device.set_up() and lines == []
    assert device.set_up().folder.parent == default_cache()


def test_an_emulated_device_yields_no_latency():
    artifact = Artifact("tvm", parse_target("arm"), {}, "net.so", (), ())
    with pytest.raises(DeviceError, match="no latency"):
        EmulatedDevice().measure(artifact)


@pytest.mark.parametrize(
    ("backend", "target", "says"),
    [("ort", "arm", "tvm backend"), ("tvm", "armv7", "armv7"), ("tvm", "android-arm64", "android")],
)
def test_a_library_that_cannot_run_there_is_refused_before_any_set_up(backend, target, says, tmp_path):
    artifact = Artifact(backend, parse_target(target), {}, "net.so", (), ())
    with pytest.raises(DeviceError, match=says):
        EmulatedDevice(cache=tmp_path / "none").run(artifact, {})
    assert not (tmp_path / "none").exists()


def test_without_apt_the_reason_is_one_line_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="apt-get is missing") as caught:
        provision(tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".lock"]


def test_a_cache_that_cannot_be_written_is_a_device_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DeviceError, match="cannot be made"):
        provision(tmp_path / "file")


def test_a_folder_is_made_once_and_a_failed_making_leaves_nothing(tmp_path):
    def fail(work):
        (work / "half").touch()
        raise DeviceError("no network")

    with pytest.raises(DeviceError, match="no network"):
        made_once(tmp_path / "made", fail, print)
    assert not (tmp_path / "made").exists()
    # What a killed process leaves behind is not taken over.
    (tmp_path / "made.part").mkdir()
    (tmp_path / "made.part" / "half").touch()
    made = made_once(tmp_path / "made", lambda work: (work / "whole").touch(), print)
    assert sorted(path.name for path in made.iterdir()) == ["content.json", "whole"]
    assert made_once(made, fail, print) == made
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made", "made.lock"]


def _fill(work):
    (work / "lib").mkdir()
    (work / "lib" / "python").write_bytes(b"\x7fELF" * 100)
    (work / "link").symlink_to("lib")
    (work / "about.json").write_text("{}")


def _kept_time(path, content):
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda made: (made / "lib/python").write_bytes(b"x"), "lib/python"),
        (lambda made: (made / "lib/python").write_bytes(bytes(400)), "lib/python"),
        (lambda made: (made / "lib/python").unlink(), "lib/python"),
        (lambda made: (made / "about.json").write_bytes(b"\xff\x00"), "about.json"),
        (lambda made: ((made / "link").unlink(), (made / "link").symlink_to("/tmp")), "link"),
        (lambda made: (made / "content.json").write_bytes(b"\xff\x00"), "list of files"),
        (lambda made: (made / "content.json").write_bytes(b"{}"), "list of files"),
        (lambda made: (made / "content.json").write_bytes(b'{"lib/python": 3}'), "list of files"),
        (lambda made: (made / "content.json").write_bytes(b"[" * 100_000), "list of files"),
        (lambda made: (made / "content.json").unlink(), "list of files"),
    ],
)
def test_a_damaged_folder_is_made_anew_with_a_note(tmp_path, harm, says):
    made, notes = made_once(tmp_path / "made", _fill, print), []
    assert made_once(made, None, notes.append) == made and notes == []
    harm(made)
    with pytest.raises(DeviceError, match=f"is damaged .*{says}.*--offline"):
        made_once(made, None, notes.append, offline=True)
    assert made_once(made, _fill, notes.append) == made and damage(made, thorough=True) is None
    assert len(notes) == 1 and says in notes[0] and "made anew" in notes[0]


def test_damage_that_keeps_size_and_time_is_found_by_reading_all(tmp_path):
    made = made_once(tmp_path / "made", _fill, print)
    _kept_time(made / "lib/python", bytes(400))
    assert damage(made) is None and "lib/python" in damage(made, thorough=True)
    made_once(made, _fill, print, thorough=True)
    assert damage(made, thorough=True) is None


def test_a_copy_of_the_cache_with_other_times_is_not_damaged(tmp_path):
    made = made_once(tmp_path / "made", _fill, print)
    os.utime(made / "lib/python", ns=(1, 1))
    assert damage(made) is None


def test_a_file_in_the_place_of_the_folder_is_replaced(tmp_path):
    (tmp_path / "made").write_text("no folder")
    assert (made_once(tmp_path / "made", _fill, print) / "about.json").exists()


def test_offline_nothing_is_made(tmp_path):
    with pytest.raises(DeviceError, match=r"does not exist yet, and nothing may be fetched \(--offline\)"):
        provision(tmp_path, offline=True)
    assert list(tmp_path.iterdir()) == []


def test_two_at_once_make_one_folder(tmp_path):
    made = []

    def make(work):
        made.append(work)
        time.sleep(0.2)
        (work / "whole").touch()

    threads = [threading.Thread(target=made_once, args=(tmp_path / "made", make, print)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and (tmp_path / "made" / "whole").exists()


def test_a_device_that_does_not_start_is_made_anew_only_where_it_is_damaged(tmp_path, monkeypatch):
    made, starts = made_once(tmp_path / "made", _fill, print), []

    def connected(self, found, *_):
        starts.append(damage(found.folder, thorough=True))
        if len(starts) == 1:
            raise DeviceError("it does not start")
        return "a worker"

    def set_up(self, thorough=False):
        return Emulated(made_once(made, _fill, print, thorough=thorough))

    monkeypatch.setattr(EmulatedDevice, "_connected", connected)
    monkeypatch.setattr(EmulatedDevice, "set_up", set_up)
    with pytest.raises(DeviceError, match="it does not start"):
        EmulatedDevice()._start("max")
    assert starts == [None]
    starts.clear()
    _kept_time(made / "lib/python", bytes(400))
    assert EmulatedDevice()._start("max") == "a worker"
    assert starts == ["is damaged (lib/python)", None]


def test_a_user_without_a_home_has_a_cache_for_this_process(monkeypatch):
    def none():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", none)
    assert default_cache().is_dir() and default_cache() == default_cache()


def test_the_cache_follows_the_user_s_setting(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "pfir"
